#!/usr/bin/env bash
# Installs the units in a fresh Debian that systemd-nspawn boots, with the sandbox in place of Discord and
# Twitch, and looks at what runs: does it chat, come back when killed, and hold nothing that it should not; does a
# good release roll out and a bad one come back, with nothing lost.
#
#   sudo deploy/systemd/test.sh FOLDER [SUITE]     FOLDER holds Vigie's binaries, the sandbox and nats-server;
#                                                  SUITE is bookworm or trixie (default); about 6 minutes
#
# Needs root on Debian with debootstrap, systemd-container and a mirror that apt knows. It touches nothing
# outside of one folder, which it removes; KEEP=1 leaves it. The container has no way out.
# shellcheck disable=SC2016 # what stands in single quotes is for the shell in the container
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binaries=${1:?usage: test.sh FOLDER [SUITE]}
suite=${2:-trixie}
export LC_ALL=C.UTF-8
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
die() { printf 'test.sh: %s\n' "$*" >&2; exit 2; }
[ "$(id -u)" = 0 ] || die "must run as root"
for tool in debootstrap systemd-nspawn; do command -v "$tool" >/dev/null || die "needs $tool"; done
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 'debian/*$') || true
[ -n "$mirror" ] || die "apt knows no mirror yet: apt-get update"

work=$(mktemp -d "${TMPDIR:-/var/tmp}/vigie-systemd.XXXXXX")
# A debootstrap that was cut short leaves its /proc mounted.
[ "${KEEP:-}" = 1 ] || trap 'rm -rf --one-file-system "$work"' EXIT
tree=$work/$suite
# No controller of cgroups is needed; hosts with the old hierarchy are asked for the new one.
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
container() { systemd-nspawn -q --register=no --keep-unit --resolv-conf=off --private-network -D "$tree" "$@"; }

packages=systemd,systemd-sysv,dbus,procps,util-linux,curl,ca-certificates,libpam-systemd,polkitd,restic,minisign
debootstrap --variant=minbase --include=$packages \
  "$suite" "$tree" "$mirror" >"$work/debootstrap.log" 2>&1 || { tail "$work/debootstrap.log" >&2; die "debootstrap failed"; }
mkdir "$tree/binaries" "$tree/units"
cp "$binaries"/{vigie,sandbox,discord-gateway,twitch-gateway,command-worker,healthcheck,backup,webhook-deploy,deployer,nats-server} \
  "$tree/binaries/"
cp "$here"/* "$tree/units/"
echo ship >"$tree/etc/hostname"
container --pipe -- sh -euc '
  /units/install.sh /binaries >/dev/null
  test "$(stat -c %a /etc/vigie/discord.env /etc/vigie/twitch.env /etc/vigie/healthcheck.env /etc/vigie/backup.env /etc/vigie/deployer.env | sort -u)" = 600
  cat >/etc/vigie/discord.env <<END
DISCORD_TOKEN=sandbox-token
DISCORD_API_URL=http://127.0.0.1:7700
END
  cat >/etc/vigie/twitch.env <<END
TWITCH_USERNAME=vigie_bot
TWITCH_OAUTH_TOKEN=oauth:sandbox-token
TWITCH_CHANNELS=vigie_demo
TWITCH_IRC_URL=irc://127.0.0.1:7701
TWITCH_API_URL=http://127.0.0.1:7700
TWITCH_AUTH_URL=http://127.0.0.1:7700
END
  printf "BACKUP_REPOSITORY=/srv/backups\nBACKUP_PASSWORD=twelve-or-more\n" >/etc/vigie/backup.env
  install -d -o vigie-backup -m 700 /srv/backups
  printf "[Service]\nReadWritePaths=/srv/backups\n" >/etc/systemd/system/vigie-backup.service.d/30-where.conf
  printf "0123456789abcdef0123456789abcdef" >/etc/vigie/hooks/site.secret
  cat >/etc/vigie/hooks/hooks.toml <<END
[site]
forge = "github"
repository = "ines/vigie"
branch = "main"
secret_file = "hooks_site.secret"
END
  minisign -G -W -p /vigie.pub -s /vigie.key >/dev/null
  printf "DEPLOY_RELEASE=/srv/release.json\nDEPLOY_RELEASE_KEY=%s\n" "$(tail -n 1 /vigie.pub)" >/etc/vigie/deployer.env
  sums() { find /etc/vigie -type f -exec cksum {} + | sort; }
  before=$(sums)
  /units/install.sh /binaries >/dev/null
  test "$(sums)" = "$before"
  systemctl -q enable vigie.target vigie-backup vigie-webhook-deploy vigie-deployer'

cat >"$tree/look.sh" <<'END'
#!/bin/bash
exec >/result 2>/look.log
look() { local what=$1; shift; if "$@" >&2; then echo "ok $what"; else echo "FAIL $what"; fi; }
soon() { local end=$((SECONDS + 40)); while ((SECONDS < end)); do if "$@" >&2; then return 0; fi; sleep 0.2; done; return 1; }
services=(vigie-nats vigie-provision vigie-discord-gateway@1 vigie-twitch-gateway@1 vigie-command-worker@1 vigie-healthcheck
  vigie-backup vigie-webhook-deploy vigie-deployer)
answers() { curl -fsS -m 8 -d "{\"platform\":\"$1\",\"text\":\"!ping\",\"within_ms\":5000}" -H 'content-type: application/json' http://127.0.0.1:7700/sandbox/ask; }
ready() { curl -fsS -m 3 "http://127.0.0.1:$1/readyz"; }
pid() { systemctl show -p MainPID --value "$1"; }
field() { awk -v name="$2:" '$1 == name { print $2 }' "/proc/$(pid "$1")/status"; }
comes_back() { local old; old=$(pid "$1"); kill -9 "$old"; soon back "$1" "$old"; }
back() { systemctl -q is-active "$1" && [ "$(pid "$1")" != "$2" ]; }
set -x
for service in "${services[@]}"; do look "$service runs" soon systemctl is-active "$service"; done
for port in 9420 9441 9451 9431 9423 9424 9425; do look "port $port says ready" soon ready $port; done
for platform in discord twitch; do look "it answers on $platform" soon answers $platform; done
for worker in 2 3; do look "worker $worker joins" systemctl enable --now vigie-command-worker@$worker; done
look "and is ready" soon ready 9433
look "vigie status sees all nine" bash -c 'vigie status --json | tee /dev/stderr | grep -o "\"instance\":\"ship-[a-z0-9-]*\"" | sort -u | wc -l | grep -x 9'
look "the health check finds it well" soon bash -c 'curl -fsS -m 3 http://127.0.0.1:9420/status | tee /dev/stderr | grep -x healthy'
look "and sees the machine" bash -c 'curl -fsS -m 3 http://127.0.0.1:9420/metrics | grep -cE "^vigie_host_(cpus|memory_bytes|disk_bytes|uptime_seconds) [1-9]" | grep -x 4'
look "without a key nobody is let in" bash -c '/usr/local/lib/vigie/vigie status 2>&1 | tee /dev/stderr | grep -q "without a key"'
look "only root reads the keys" test "$(find /etc/vigie/keys -name nats.nk -perm 400 -user root | wc -l)" = 10
for service in "${services[@]}"; do look "$service comes back when killed" comes_back "$service"; done
for port in 9420 9441 9451 9431 9432; do soon ready $port; done
for platform in discord twitch; do look "it answers on $platform again" soon answers $platform; done
for service in "${services[@]}"; do
  look "$service is no root" test "$(field "$service" Uid)" -gt 99
  look "$service has no capability and gets none" test "$(field "$service" CapBnd)$(field "$service" NoNewPrivs)$(field "$service" Seccomp)" = 000000000000000012
  look "$service cannot read the secrets" bash -c "! nsenter -t $(pid "$service") -m cat /etc/vigie/discord.env"
  look "$service cannot write but where it may" bash -c "! nsenter -t $(pid "$service") -m touch /usr/x /etc/x /var/x /var/lib/x"
  look "systemd rates $service below 1.5" systemd-analyze security --no-pager --threshold=15 "$service"
  echo "score $service $(systemd-analyze security --no-pager "$service" | sed -n 's/.*level for [^:]*: \([0-9.]*\).*/\1/p')"
done
look "the units are well written" systemd-analyze verify --man=no --recursive-errors=no "${services[@]/%/.service}" vigie.target
look "what NATS keeps is for it alone" test "$(stat -c %a /var/lib/private/vigie-nats)" = 700
echo 'PREFIX=a b' >>/etc/vigie/discord.env
systemctl restart vigie-discord-gateway@1
look "a setting that cannot be used stops one service" soon systemctl is-failed vigie-discord-gateway@1
look "and it is not started again" bash -c 'sleep 7; systemctl is-failed vigie-discord-gateway@1; test "$(systemctl show -p ExecMainStatus --value vigie-discord-gateway@1)" = 64'
sed -i /PREFIX/d /etc/vigie/discord.env
systemctl start vigie-discord-gateway@1
look "and runs when it is mended" soon ready 9441
for port in 9441 9451 9423; do soon ready $port; done
deliver() { curl -sS -m 8 -o /dev/null -w '%{http_code}' -d '{}' -H 'content-type: application/json' -H 'x-github-event: push' -H "x-hub-signature-256: sha256=$1" http://127.0.0.1:9480/hooks/site; }
look "a delivery that is not signed is refused" test "$(deliver "$(printf '%064d' 0)")" = 401
look "the backup saves with restic" vigie backup create
machine=$(dpkg --print-architecture)
release() { # release VERSION [FILE NAME]: what runs, with this file in the place of another, as a signed release
  local folder=/srv/new archive=vigie-$1-$machine.tar.gz sum
  rm -rf "$folder"
  cp -a /var/lib/vigie/current/bin "$folder"
  [ $# = 1 ] || cp "$2" "$folder/$3"
  tar -C "$folder" -czf "/srv/$archive" $(ls "$folder")
  sum=$(sha256sum <"/srv/$archive" | cut -d' ' -f1)
  printf '{"image":"vigie","version":"%s","platforms":{},"binaries":{"linux/%s":{"file":"%s","sha256":"%s"}}}' \
    "$1" "$machine" "$archive" "$sum" >/srv/release.json
  minisign -S -s /vigie.key -m /srv/release.json </dev/null
}
all_run() { # all_run RELEASE: it is what is started, and what runs
  local unit
  for unit in vigie-{provision,healthcheck,backup,webhook-deploy,discord-gateway@1,twitch-gateway@1,command-worker@{1,2,3}}; do
    [ "$(readlink -f "/var/lib/vigie/units/$unit")" = "/var/lib/vigie/releases/$1" ] || return 1
    case $(readlink "/proc/$(pid "$unit")/exe") in "/var/lib/vigie/releases/$1/bin/"*) ;; *) return 1 ;; esac
  done
}
chat() {
  local lost=0 asked=0
  while [ ! -e /stop ]; do
    for platform in discord twitch; do
      asked=$((asked + 1))
      answers $platform >/dev/null || { lost=$((lost + 1)); date "+%T $platform" >>/lost.when; }
    done
    # One person is answered !ping every 3 s, and Twitch lets 20 messages in 30 s through.
    sleep 4
  done
  echo "$lost of $asked lost" >/lost
}
first=$(basename "$(readlink /var/lib/vigie/current)")
chat 2>/dev/null & chatting=$!
release 1.1.0
look "a signed release rolls out" vigie deploy now
look "and runs everywhere" all_run 1.1.0
look "with nothing beside it" bash -c '! systemctl is-active vigie-command-worker@0 vigie-discord-gateway@0 vigie-twitch-gateway@0'
release 1.2.0 /binaries/vigie command-worker
look "a bad one does not" bash -c '! vigie deploy now'
look "and all is as it was" all_run 1.1.0
look "and said" bash -c 'vigie deploy history --json | tee /dev/stderr | grep -q rolled_back_to'
release 1.3.0
sed -i s/1.3.0/1.4.0/ /srv/release.json
look "one that is not signed is refused" bash -c '! vigie deploy now'
look "a person goes back" vigie deploy rollback --yes
look "to what was installed" all_run "$first"
touch /stop
wait $chatting
look "nothing was lost meanwhile: $(cat /lost)" grep '^0 of ' /lost
deployer=(setpriv --reuid vigie-deployer --regid vigie-deployer --init-groups)
refused() { ! "${deployer[@]}" "$@"; }
look "the deployer may start what it replaces" "${deployer[@]}" systemctl --no-ask-password start vigie-healthcheck
look "and may not stop NATS" refused systemctl --no-ask-password stop vigie-nats
look "nor run anything" refused systemd-run --no-ask-password true
look "nor enable a unit" refused systemctl --no-ask-password enable vigie-command-worker@9
systemctl stop vigie-backup
echo '{}' >/var/lib/vigie-backup/restore.json
systemctl --no-block restart vigie-command-worker@1
look "a worker waits while a restore did not come to its end" soon bash -c '[ "$(systemctl show -p SubState --value vigie-command-worker@1)" = start-pre ]'
look "and says so" soon bash -c 'journalctl -u vigie-command-worker@1 | grep -q "waiting for vigie-backup"'
rm /var/lib/vigie-backup/restore.json
look "and starts when it has" soon systemctl is-active vigie-command-worker@1
systemctl start vigie-backup
look "stopping the target" timeout 60 systemctl stop vigie.target
look "stops all of it" soon bash -c '! pgrep -x "nats-server|vigie|discord-gateway|twitch-gateway|command-worker|healthcheck|backup|webhook-deploy|deployer"'
look "in order" bash -c 'for u in "$@"; do test "$(systemctl show -p Result --value "$u")" = success; done' x "${services[@]}"
systemctl start vigie.target
look "and it answers after the next start" soon answers discord
echo end
END
chmod 755 "$tree/look.sh"
cat >"$tree/etc/systemd/system/sandbox.service" <<'END'
[Unit]
Before=vigie-discord-gateway.service vigie-twitch-gateway.service
[Service]
ExecStart=/binaries/sandbox
[Install]
WantedBy=multi-user.target
END
cat >"$tree/etc/systemd/system/look.service" <<'END'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/look.sh
ExecStopPost=systemctl --no-block poweroff
[Install]
WantedBy=graphical.target
END
container --pipe -- systemctl -q enable sandbox look
timeout 900 systemd-nspawn -q --register=no --keep-unit --resolv-conf=off --private-network -D "$tree" -b \
  </dev/null >"$work/boot.log" 2>&1 || true
printf '%s: %s\n' "$suite" "$(container --pipe -- systemctl --version | head -n 1)"
cat "$tree/result"
grep -qx end "$tree/result" || { tail -5 "$work/boot.log" >&2; die "the system did not come to its end, see KEEP=1"; }
passed=$(grep -c '^ok ' "$tree/result")
broken=$(grep -c '^FAIL ' "$tree/result" || true)
printf '%s passed, %s failed\n' "$passed" "$broken"
[ "$broken" = 0 ]
