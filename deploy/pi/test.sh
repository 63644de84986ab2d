#!/usr/bin/env bash
# Runs prepare.sh on fresh Debian systems in containers of systemd-nspawn, booted and not, without a way
# out of the container, and looks at what it made of them.
#
#   sudo deploy/pi/test.sh [bookworm] [trixie]      both when none is named; about 12 minutes
#
# With IMAGES=FILE, what `docker save` wrote of the images of compose.yaml, the demo is started from a clone of this
# repository on the prepared trixie, and has to chat.
#
# Needs root on Debian with debootstrap, systemd-container, gpg, dpkg-deb and a mirror that apt knows.
# It touches nothing outside of one folder, which it removes; KEEP=1 leaves it. On Debian 12 Docker's
# repository is a local one with empty packages, so that the network is not tested with it.
# shellcheck disable=SC2016 # what stands in single quotes is for the shell in the container
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
suites=("$@")
((${#suites[@]})) || suites=(bookworm trixie)
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

die() { printf 'test.sh: %s\n' "$*" >&2; exit 2; }
[ "$(id -u)" = 0 ] || die "must run as root"
for tool in debootstrap systemd-nspawn gpg dpkg-deb ssh-keygen; do
  command -v "$tool" >/dev/null || die "needs $tool"
done
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 'debian/*$') || true
[ -n "$mirror" ] || die "apt knows no mirror yet: apt-get update"

work=$(mktemp -d "${TMPDIR:-/var/tmp}/vigie-prepare.XXXXXX")
[ "${KEEP:-}" = 1 ] || trap 'rm -rf "$work"' EXIT
passed=0
broken=0
ok() { printf '  ok    %s\n' "$1"; passed=$((passed + 1)); }
not_ok() { printf '  FAIL  %s\n' "$1"; broken=$((broken + 1)); }
# expect WHAT COMMAND...: the command succeeds.
expect() {
  local what=$1
  shift
  if "$@" >"$work/look" 2>&1; then ok "$what"; else
    not_ok "$what"
    sed 's/^/        /' "$work/look" | tail -20
  fi
}
# exits WHAT CODE COMMAND...
exits() {
  local what=$1 code=$2 status=0
  shift 2
  "$@" >"$work/said" 2>&1 || status=$?
  if [ "$status" = "$code" ]; then ok "$what"; else
    not_ok "$what: exit $status, expected $code"
    sed 's/^/        /' "$work/said" | tail -30
  fi
}
said() { grep -qF -- "$1" "$work/said"; }

# --- containers ----------------------------------------------------------------------------------

# No controller of cgroups is needed; hosts with the old hierarchy are asked for the new one.
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
container() { systemd-nspawn -q --register=no --keep-unit --resolv-conf=off -D "$tree" "$@"; }
# A network of its own without a way out: what a firewall in it does reaches nobody else.
inside() { container --private-network --pipe -- "$@"; }
prepare() { inside env "${variables[@]}" /prepare.sh "$@"; }
with_network() { container --pipe --bind-ro=/etc/resolv.conf --bind-ro=/etc/hosts -- "$@"; }

# What a run could change, with the time of the last change; not the caches of apt and what programs log.
snapshot() {
  find "$tree" -xdev \( -path "$tree/run" -o -path "$tree/tmp" -o -path "$tree/dev" -o -path "$tree/var/log" \
    -o -path "$tree/var/cache" -o -path "$tree/var/lib/apt" -o -path "$tree/var/lib/dpkg/lock*" \
    -o -path "$tree/var/lib/systemd" \) -prune -o ! -type d -printf '%P %y %m %U:%G %s %T@ %l\n' | sort
}
unchanged() { diff "$1" <(snapshot); }

# --- a repository of empty packages, signed ------------------------------------------------------

stub() { # stub NAME VERSION [PATH=CONTENT]...
  local name=$1 version=$2 folder="$work/stub/$1" file
  rm -rf "$folder"
  mkdir -p "$folder/DEBIAN"
  printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: empty\n' \
    "$name" "$version" >"$folder/DEBIAN/control"
  shift 2
  for file; do
    mkdir -p "$folder/$(dirname "${file%%=*}")"
    printf '%b' "${file#*=}" >"$folder/${file%%=*}"
    chmod 755 "$folder/${file%%=*}"
  done
  dpkg-deb --root-owner-group -b "$folder" "$work/repository/${name}_$version.deb" >/dev/null
}
repository() {
  local keys=$work/keys deb name dist
  mkdir -p "$keys" "$work/repository"
  chmod 700 "$keys"
  stub vigie-old 1
  mv "$work/repository/vigie-old_1.deb" "$work/"
  stub vigie-old 2
  stub docker-ce 1 'usr/bin/dockerd=#!/bin/sh\n' \
    'lib/systemd/system/docker.service=[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/true\n[Install]\nWantedBy=multi-user.target\n'
  stub docker-ce-cli 1 'usr/bin/docker=#!/bin/sh\ntest -e /usr/lib/compose\n'
  stub docker-compose-plugin 1 'usr/lib/compose=\n'
  stub docker-buildx-plugin 1
  stub containerd.io 1
  gpg --homedir "$keys" --batch --quiet --passphrase '' --quick-gen-key 'test <test@localhost>' ed25519 sign never 2>/dev/null
  gpg --homedir "$keys" --batch --armor --export >"$work/repository/gpg"
  fingerprint=$(gpg --homedir "$keys" --batch --quiet --no-auto-check-trustdb --list-keys --with-colons | awk -F: '$1 == "fpr" { print $10; exit }')
  for name in bookworm trixie; do
    dist=$work/repository/dists/$name
    mkdir -p "$dist/stable/binary-$(dpkg --print-architecture)"
    for deb in "$work"/repository/*.deb; do
      dpkg-deb -f "$deb"
      printf 'Filename: %s\nSize: %s\nSHA256: %s\n\n' "$(basename "$deb")" "$(stat -c %s "$deb")" "$(sha256sum "$deb" | cut -d' ' -f1)"
    done >"$dist/stable/binary-$(dpkg --print-architecture)/Packages"
    {
      printf 'Origin: test\nSuite: %s\nCodename: %s\nArchitectures: %s\nComponents: stable\nDate: %s\nSHA256:\n' \
        "$name" "$name" "$(dpkg --print-architecture)" "$(date -Ru)"
      (cd "$dist" && find stable -name Packages -exec sh -c 'printf " %s %s %s\n" $(sha256sum "$1" | cut -d" " -f1) $(stat -c %s "$1") "$1"' sh {} \;)
    } >"$dist/Release"
    gpg --homedir "$keys" --batch --clearsign -o "$dist/InRelease" "$dist/Release" 2>/dev/null
  done
  gpgconf --homedir "$keys" --kill all
}

# --- one suite -----------------------------------------------------------------------------------

# A system as a Pi has it after its first start: one user, passwords allowed, an update to be had.
fresh() {
  printf '\n== %s\n' "$suite"
  tree=$work/$suite
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,kmod,procps,iproute2,ca-certificates,sudo,openssh-server,openssh-client,sshpass,libpam-systemd \
    "$suite" "$tree" "$mirror" >"$work/debootstrap.log" 2>&1 || { tail "$work/debootstrap.log" >&2; die "debootstrap failed"; }
  cp "$here/prepare.sh" "$tree/prepare.sh"
  cp -r "$work/repository" "$tree/repository"
  cp -r "$work/repository" "$tree/updates"
  cp "$work/vigie-old_1.deb" "$tree/"
  printf 'deb [trusted=yes] file:/updates %s stable\n' "$suite" >"$tree/etc/apt/sources.list.d/test.list"
  mkdir -p "$tree/boot/firmware"
  printf 'console=serial0,115200 console=tty1 root=PARTUUID=8e18a7ad-02 rootfstype=ext4 fsck.repair=yes rootwait' >"$tree/boot/firmware/cmdline.txt"
  # What an image for servers brings along, and what must not win.
  printf 'PasswordAuthentication yes\n' >"$tree/etc/ssh/sshd_config.d/50-cloud-init.conf"
  printf 'prepare-test\n' >"$tree/etc/hostname"
  inside bash -euc 'dpkg -i /vigie-old_1.deb; useradd -m -s /bin/bash captain; echo captain:secret | chpasswd' >/dev/null
  local packages=(ufw fail2ban python3-systemd unattended-upgrades systemd-zram-generator systemd-timesyncd python3-minimal)
  if [ "$suite" = bookworm ]; then packages+=(curl gpg); else packages+=(docker.io docker-cli docker-compose docker-buildx); fi
  with_network bash -euc 'apt-get -q update; apt-get -q -y --download-only upgrade --with-new-pkgs
    apt-get -q -y --download-only --no-install-recommends install "$@"' bash "${packages[@]}" >"$work/download.log" 2>&1 ||
    { tail "$work/download.log" >&2; die "the packages cannot be downloaded"; }
  variables=(DOCKER_REPOSITORY=file:///repository DOCKER_KEY_FINGERPRINT="$fingerprint")
}

give_key() {
  ssh-keygen -q -t ed25519 -N '' -f "$tree/key"
  inside bash -euc 'home=$(getent passwd captain | cut -d: -f6)
    install -d -o captain -g captain -m 700 "$home/.ssh"; install -o captain -g captain -m 600 /key.pub "$home/.ssh/authorized_keys"'
}
spoil_key() { inside bash -euc 'chmod "$1" "$(getent passwd captain | cut -d: -f6)/.ssh"' bash "$1"; }

refusals() {
  snapshot >"$work/before"
  exits "without a key it refuses" 2 prepare
  expect "and says how to make one" said 'ssh-copy-id'
  exits "--check refuses too" 2 prepare --check
  expect "nothing was changed" unchanged "$work/before"
  give_key
  spoil_key 777
  snapshot >"$work/before"
  exits "a key that sshd would ignore counts as none" 2 prepare
  spoil_key 700
  exits "nor does somebody else's: root called it, but for a user without a key" 2 prepare --user root
  exits "a user that does not exist" 2 prepare --user nobody-here
  exits "a step that does not exist" 64 prepare --only coffee
  exits "who is not root" 2 inside su captain -c /prepare.sh
  exits "--check finds much" 1 prepare --check
  expect "the upgrade among it" said 'updates: upgrade 1 packages'
  spoil_key 777 && spoil_key 700
  expect "and changes nothing" unchanged "$work/before"
  printf 'deb nonsense\n' >"$tree/etc/apt/sources.list.d/broken.list"
  exits "an apt that does not work" 1 prepare --check --only updates
  expect "is told" said 'mend apt'
  rm "$tree/etc/apt/sources.list.d/broken.list"
  exits "--only one step" 1 prepare --check --only zram
  expect "looks at that one" bash -c '! grep -E "^[a-z0-9]+: " "$1" | grep -v "^zram: "' bash "$work/said"
  if [ "$suite" = bookworm ]; then
    variables[1]=DOCKER_KEY_FINGERPRINT=0000
    exits "a strange key of Docker's repository" 1 prepare --only docker
    expect "installs nothing of it" test ! -e "$tree/etc/apt/sources.list.d/docker-vigie.sources" -a ! -e "$tree/usr/bin/dockerd"
    variables[1]=DOCKER_KEY_FINGERPRINT=$fingerprint
  fi
  # A rule in the main file that lets passwords in again, for one user.
  printf 'Match User captain\n  PasswordAuthentication yes\n' >>"$tree/etc/ssh/sshd_config"
  sed -i 's/^Include/#Include/' "$tree/etc/ssh/sshd_config"
  exits "a server that does not read our file is told" 1 prepare --only ssh
  expect "and stays as it was" test ! -e "$tree/etc/ssh/sshd_config.d/00-vigie.conf"
  sed -i -e 's/^#Include/Include/' -e '/^Match User captain/,$d' "$tree/etc/ssh/sshd_config"
}

file_is() { printf '%s\n' "$2" | diff "$tree$1" -; }
results() {
  expect "the update is in" inside bash -euc '[ "$(dpkg-query -W -f "\${Version}" vigie-old)" = 2 ]'
  expect "sshd takes no passwords" inside bash -euc 'mkdir -p /run/sshd; sshd -T -C user=captain,host=x,addr=192.0.2.1 | grep -qx "passwordauthentication no"'
  expect "nor for root" inside bash -euc 'mkdir -p /run/sshd; sshd -T | grep -qx "permitrootlogin without-password"'
  expect "the firewall is on, for SSH only" inside bash -euc 'grep -qx ENABLED=yes /etc/ufw/ufw.conf; ufw show added | diff - <(printf "%s\n" "Added user rules (see '"'ufw status'"' for running firewall):" "ufw allow 22/tcp comment '"'SSH'"'")'
  expect "fail2ban takes the settings" inside fail2ban-client -t
  expect "and reads the journal" grep -qx 'backend = systemd' "$tree/etc/fail2ban/jail.d/vigie.local"
  expect "upgrades run by themselves" inside bash -euc 'eval "$(apt-config shell on APT::Periodic::Unattended-Upgrade)"; [ "$on" = 1 ]; apt-config dump Unattended-Upgrade::Origins-Pattern | grep -q "Raspberry Pi Foundation"; apt-config dump Unattended-Upgrade::Origins-Pattern | grep -q Debian-Security'
  expect "the kernel is asked for memory limits, in one line" file_is /boot/firmware/cmdline.txt \
    'console=serial0,115200 console=tty1 root=PARTUUID=8e18a7ad-02 rootfstype=ext4 fsck.repair=yes rootwait cgroup_memory=1 cgroup_enable=memory'
  expect "and the line before is kept" test -e "$tree/boot/firmware/cmdline.txt.before-vigie"
  expect "the journal is limited" inside bash -euc 'systemd-analyze cat-config systemd/journald.conf | grep -qx SystemMaxUse=100M'
  expect "Docker's logs are limited" inside python3 -c 'import json; d = json.load(open("/etc/docker/daemon.json")); assert d["log-opts"]["max-size"] == "10m" and d["live-restore"]'
  expect "Compose v2 is there" inside docker compose version
  expect "Docker starts with the machine" inside systemctl -q is-enabled docker.service
  expect "swap is in compressed memory" test -s "$tree/etc/systemd/zram-generator.conf"
  expect "the clock is set" inside systemctl -q is-enabled systemd-timesyncd
}

again() {
  snapshot >"$work/before"
  exits "a second run" 0 prepare
  expect "and changes nothing" unchanged "$work/before"
  exits "--check is content" 0 prepare --check
}

drift() {
  printf '{ "log-driver": "local", "data-root": "/elsewhere" }\n' >"$tree/etc/docker/daemon.json"
  rm "$tree/etc/ssh/sshd_config.d/00-vigie.conf"
  # Its rules are loaded at a start, and each of these containers is new.
  inside bash -euc 'ufw --force enable; ufw allow 8080/tcp' >/dev/null
  exits "what was changed since is seen" 1 prepare --check
  exits "and mended" 0 prepare
  expect "what somebody chose stays" inside python3 -c 'import json; assert json.load(open("/etc/docker/daemon.json")) == {"log-driver": "local", "data-root": "/elsewhere", "live-restore": True}'
  expect "their firewall rule too" inside bash -euc 'ufw show added | grep -q 8080/tcp'
  inside bash -euc 'ufw --force enable; ufw delete allow 8080/tcp' >/dev/null
  printf '{ "log-driver": "local",\n' >"$tree/etc/docker/daemon.json"
  exits "a file that is no JSON" 1 prepare --only logs
  expect "stays as it is" file_is /etc/docker/daemon.json '{ "log-driver": "local",'
  rm "$tree/etc/docker/daemon.json"
  exits "and is written when it is gone" 0 prepare --only logs
}

# --- booted --------------------------------------------------------------------------------------

# Runs in the booted system; one line for each thing looked at. The other end of the cable is a network
# of its own, so that the firewall and fail2ban see somebody from outside.
content_look() {
  cat <<'END'
#!/bin/bash
exec >/result 2>/look.log
look() { local what=$1; shift; if "$@" >&2; then echo "ok $what"; else echo "FAIL $what"; fi; }
outside() { ip netns exec outside "$@"; }
soon() { local i; for ((i = 0; i < 50; i++)); do if "$@" >&2; then return 0; fi; sleep 0.2; done; return 1; }
options=(-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=3 -o LogLevel=ERROR)
as_captain() { outside ssh "${options[@]}" -o BatchMode=yes -i /key captain@10.9.9.1 true; }
by_password() { outside sshpass -p secret ssh "${options[@]}" -o PubkeyAuthentication=no captain@10.9.9.1 true; }
stranger() { outside ssh "${options[@]}" -o BatchMode=yes -o PubkeyAuthentication=no admin@10.9.9.1 true; }
port_answers() { outside timeout 3 bash -c "</dev/tcp/10.9.9.1/$1"; }
banned() { fail2ban-client status sshd | grep -q '10\.9\.9\.2'; }
set -x
ip netns add outside
ip link add inner type veth peer name outer netns outside
ip address add 10.9.9.1/24 dev inner && ip link set inner up
outside ip address add 10.9.9.2/24 dev outer && outside ip link set outer up
python3 -m http.server --bind 10.9.9.1 8080 >&2 &

look "the machine started well" soon systemctl is-active ssh ufw fail2ban systemd-journald unattended-upgrades
look "a key opens the door" soon as_captain
look "the right password does not" bash -c "$(declare -p options); $(declare -f outside by_password); ! by_password"
look "the firewall lets SSH in" port_answers 22
look "and drops what else listens" bash -c "$(declare -f outside port_answers); ! port_answers 8080"
for i in 1 2 3 4 5 6; do stranger; done
look "who fails five times is banned" soon banned
look "and stays outside" soon bash -c "$(declare -f outside port_answers); ! port_answers 22"
fail2ban-client unban --all >&2
look "until the ban ends" soon as_captain
look "prepare.sh --check finds nothing to do" env "$@" /prepare.sh --check --skip docker
rm /etc/ssh/sshd_config.d/00-vigie.conf /etc/systemd/journald.conf.d/vigie.conf /etc/docker/daemon.json
systemctl disable --now fail2ban
systemctl reload ssh
look "a run mends what is wrong while it runs" env "$@" /prepare.sh --skip docker
look "passwords are refused again at once" bash -c "$(declare -p options); $(declare -f outside by_password); ! by_password"
look "keys are not" soon as_captain
look "fail2ban runs again" systemctl is-active fail2ban
END
}
# boot CONTENT SECONDS [OPTION]...: starts the system with a script that looks at it, and shows what it saw.
boot() {
  local content=$1 limit=$2
  shift 2
  "$content" >"$tree/look.sh"
  chmod 755 "$tree/look.sh"
  cat >"$tree/etc/systemd/system/look.service" <<END
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/look.sh ${variables[*]}
ExecStopPost=systemctl --no-block poweroff
[Install]
WantedBy=graphical.target
END
  inside systemctl -q enable look
  rm -f "$tree/result"
  timeout "$limit" systemd-nspawn -q --register=no --keep-unit --resolv-conf=off --private-network "$@" -D "$tree" -b \
    </dev/null >"$work/boot.log" 2>&1 || true
  [ -s "$tree/result" ] || { not_ok "the system starts"; tail -5 "$work/boot.log"; return 0; }
  local verdict what
  while read -r verdict what; do
    if [ "$verdict" = ok ]; then ok "booted: $what"; else not_ok "booted: $what (see look.log)"; fi
  done <"$tree/result"
}

# --- the demo ------------------------------------------------------------------------------------

content_demo() {
  cat <<'END'
#!/bin/bash
exec >/result 2>/look.log
look() { local what=$1; shift; if "$@" >&2; then echo "ok $what"; else echo "FAIL $what"; fi; }
answers() {
  python3 -c 'import json, sys, urllib.request as u
line = {"platform": sys.argv[1], "text": "!ping", "within_ms": 15000}
asked = u.Request("http://127.0.0.1:7700/sandbox/ask", json.dumps(line).encode(), {"content-type": "application/json"})
print(u.urlopen(asked, timeout=20).read())' "$1"
}
limited() { docker inspect -f '{{.HostConfig.LogConfig}}' "$(docker compose ps -q nats)" | grep -F max-size:; }
set -x
look "Docker runs" systemctl is-active docker
docker load -q -i /images.tar >&2
cd /srv/vigie && cp .env.example .env
look "the demo starts" docker compose --profile demo up -d --wait
look "it chats on Discord" answers discord
look "it chats on Twitch" answers twitch
look "its logs are limited" limited
look "prepare.sh --check finds nothing to do" env "$@" /prepare.sh --check
docker compose --profile demo logs >&2
docker compose --profile demo down >&2
END
}
demo() {
  cp "$IMAGES" "$tree/images.tar"
  git clone -q "$here/../.." "$tree/srv/vigie"
  boot content_demo 400 --capability=all --system-call-filter='bpf @keyring'
}

for suite in "${suites[@]}"; do
  [ -n "${fingerprint:-}" ] || repository
  fresh
  refusals
  exits "the run" 0 prepare
  results
  again
  drift
  boot content_look 240
  if [ -n "${IMAGES:-}" ] && [ "$suite" = trixie ]; then demo; fi
done
printf '\n%s passed, %s failed\n' "$passed" "$broken"
((broken == 0))
