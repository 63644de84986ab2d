#!/usr/bin/env bash
# Prepares a fresh Raspberry Pi OS or Debian (bookworm, trixie; 64 bit) to run Vigie for years:
# updates, time, SSH by key only, firewall, fail2ban, unattended upgrades, memory cgroup, zram,
# log limits, Docker. It starts no bot, and it never restarts the machine.
#
#   sudo ./prepare.sh --check     prints what it would change, and changes nothing
#   sudo ./prepare.sh             changes it; a second run finds nothing to do
#
# Bash and not POSIX sh: each Debian has it from the start, and `pipefail` and arrays keep a failed
# command from going unseen. A step NAME is two functions: check_NAME says by `want` what differs and
# changes nothing; apply_NAME changes it. After each apply the check must be content.
#
# Exit codes: 0 nothing (more) to do; 1 --check found something, or a step failed; 2 refused, nothing
# was changed; 64 wrong arguments.
set -euo pipefail

STEPS=(updates time ssh firewall fail2ban upgrades memory zram logs docker)

# Where Docker's own packages come from on Debian 12, and whose signature they must carry; a mirror of
# them may be named here.
DOCKER_REPOSITORY=${DOCKER_REPOSITORY:-https://download.docker.com/linux/debian}
DOCKER_KEY_FINGERPRINT=${DOCKER_KEY_FINGERPRINT:-9DC858229FC7DD38854AE2D88D81803C0EBFCD88}

SSHD_FILE=/etc/ssh/sshd_config.d/00-vigie.conf
JAIL_FILE=/etc/fail2ban/jail.d/vigie.local
UPGRADES_FILE=/etc/apt/apt.conf.d/52vigie
ZRAM_FILE=/etc/systemd/zram-generator.conf
JOURNAL_FILE=/etc/systemd/journald.conf.d/vigie.conf
DAEMON_FILE=/etc/docker/daemon.json
DOCKER_KEY=/etc/apt/keyrings/docker-vigie.gpg
DOCKER_SOURCE=/etc/apt/sources.list.d/docker-vigie.sources

export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l LC_ALL=C.UTF-8
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# --- helpers -------------------------------------------------------------------------------------

wants=()
say() { printf '%s\n' "$*"; }
warn() { printf 'prepare.sh: %s\n' "$*" >&2; }
refuse() { warn "$1"; exit 2; }
note() { say "$step: $*"; }
want() { wants+=("$*"); }
have() { command -v "$1" >/dev/null 2>&1; }
booted() { [ -d /run/systemd/system ]; }

installed() { [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null || true) == ii* ]]; }
want_packages() {
  local package
  for package; do installed "$package" || want "install $package"; done
}
install_packages() {
  apt-get "${apt_options[@]}" install --no-install-recommends "$@"
}
# An apt that finds another one at work waits for it, and that keeps settings which somebody changed.
apt_options=(-q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold)

# want_file PATH FUNCTION: the file holds what the function prints.
want_file() { cmp -s "$1" <("$2") || want "write $1"; }
# put_file PATH FUNCTION [MODE]: whole or not at all, also when the power goes.
put_file() {
  mkdir -p "$(dirname "$1")"
  "$2" >"$1.new"
  chmod "${3:-644}" "$1.new"
  sync "$1.new"
  mv "$1.new" "$1"
}

want_unit() {
  systemctl -q is-enabled "$1" 2>/dev/null || want "enable $1"
  if booted; then systemctl -q is-active "$1" || want "start $1"; fi
}
enable_unit() {
  systemctl -q enable "$1"
  if booted; then systemctl "${2:-start}" "$1"; fi
}

# --- updates -------------------------------------------------------------------------------------

check_updates() {
  local lists plan newer
  lists=$(find /var/lib/apt/lists -name '*_Packages*' -print -quit)
  [ -n "$lists" ] || want "fetch the lists of packages"
  if ! plan=$(apt-get -s upgrade --with-new-pkgs); then want "mend apt, which says why above"; return 0; fi
  newer=$(grep -c '^Inst ' <<<"$plan" || true)
  [ "$newer" = 0 ] || want "upgrade $newer packages"
}
# --with-new-pkgs: a new kernel is a new package. Nothing is removed.
apply_updates() { apt-get "${apt_options[@]}" upgrade --with-new-pkgs; }

# --- time: a Pi has no clock of its own, and TLS and tokens fail with a wrong one ------------------

time_daemon() {
  dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Provides}\n' | awk '/^ii .*time-daemon/ { print $2; exit }'
}
check_time() {
  local daemon
  daemon=$(time_daemon)
  case $daemon in
    "") want "install systemd-timesyncd" ;;
    # It refuses to run in a container, so only what it does at a start is looked at.
    systemd-timesyncd) systemctl -q is-enabled systemd-timesyncd || want "enable systemd-timesyncd" ;;
  esac
}
apply_time() {
  [ -n "$(time_daemon)" ] || install_packages systemd-timesyncd
  if [ "$(time_daemon)" = systemd-timesyncd ]; then enable_unit systemd-timesyncd; fi
}

# --- SSH by key only -----------------------------------------------------------------------------

# Debian reads this folder before the rest of its settings, and the first value of a name holds.
content_ssh() {
  cat <<'END'
# Written by Vigie's prepare.sh: who has no key does not get in.
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
END
}

# The settings that hold for a user (of root: those of all), as `sshd -T` prints them.
sshd_settings() {
  mkdir -p /run/sshd
  sshd -T -C "user=${1:-root},host=elsewhere,addr=192.0.2.1"
}
sshd_setting() { sshd_settings "$1" | awk -v name="$2" '$1 == name { $1 = ""; print substr($0, 2) }'; }

login_users() {
  getent passwd | awk -F: '($3 == 0 || ($3 >= 1000 && $3 < 60000)) && $7 !~ /(nologin|false)$/ { print $1 }'
}

# Whether sshd would take the file: nobody else may write it, nor a folder above it up to the home.
strict() {
  local user=$1 path=$2 home=$3 owner mode
  while :; do
    read -r owner mode < <(stat -L -c '%U %a' "$path") || return 1
    [[ $owner == "$user" || $owner == root ]] || return 1
    (((8#$mode & 8#022) == 0)) || return 1
    [[ $path != "$home" && $path != / ]] || return 0
    path=$(dirname "$path")
  done
}

# Whether the user gets in by a key.
has_key() {
  local user=$1 home file
  home=$(getent passwd "$user" | cut -d: -f6)
  [ "$(sshd_setting "$user" pubkeyauthentication)" = yes ] || return 1
  for file in $(sshd_setting "$user" authorizedkeysfile); do
    file=${file//%h/$home}
    file=${file//%u/$user}
    [[ $file == /* ]] || file=$home/$file
    [ -s "$file" ] || continue
    if ! ssh-keygen -l -f "$file" >/dev/null 2>&1; then
      warn "$file holds no key that sshd understands"
    elif ! strict "$user" "$file" "$home"; then
      warn "sshd ignores $file: others may write it or a folder above it; chmod go-w them"
    else
      return 0
    fi
  done
  return 1
}

# Nobody is locked out: whoever called this, or else somebody, gets in by a key already.
keys_are_there() {
  local user must=$login_user
  if [[ -z $must && ${SUDO_USER:-root} != root ]]; then must=$SUDO_USER; fi
  if [ -n "$must" ]; then
    if has_key "$must"; then return 0; fi
  else
    for user in $(login_users); do
      if has_key "$user"; then return 0; fi
    done
  fi
  warn "there is no SSH key here of ${must:-any user}, and passwords would be switched off: you would be locked out."
  warn "On your own computer run   ssh-copy-id ${must:-USER}@$(hostname)   (before it ssh-keygen, if you have no key),"
  warn "see that   ssh ${must:-USER}@$(hostname)   asks for no password, and run this again. Or leave SSH as it is: --skip ssh"
  return 1
}

check_ssh() {
  have sshd || return 0
  want_file "$SSHD_FILE" content_ssh
  local user settings
  for user in $(login_users); do
    settings=$(sshd_settings "$user")
    grep -qx 'passwordauthentication no' <<<"$settings" || want "refuse passwords over SSH for $user"
    grep -qx 'kbdinteractiveauthentication no' <<<"$settings" || want "refuse dialogues over SSH for $user"
  done
}
apply_ssh() {
  local before=""
  [ ! -e "$SSHD_FILE" ] || before=$(cat "$SSHD_FILE")
  put_file "$SSHD_FILE" content_ssh
  wants=()
  check_ssh
  if ! sshd -t || ((${#wants[@]})); then
    # As it was: a server that does not start, or half a rule, helps nobody.
    if [ -n "$before" ]; then printf '%s\n' "$before" >"$SSHD_FILE"; else rm -f "$SSHD_FILE"; fi
    warn "SSH stays as it was: /etc/ssh/sshd_config or a file in sshd_config.d says otherwise. Look for"
    warn "PasswordAuthentication in a Match block, or for a missing Include /etc/ssh/sshd_config.d/*.conf"
    return 1
  fi
  # A reload keeps the connections that are open, this one among them.
  if booted && systemctl -q is-active ssh; then systemctl reload ssh; fi
}

# --- firewall ------------------------------------------------------------------------------------

ssh_ports() { if have sshd; then sshd_setting root port; fi; }
check_firewall() {
  want_packages ufw
  # One that is on already is somebody's work: its rules stay as they are.
  grep -qs '^ENABLED=yes' /etc/ufw/ufw.conf || want "let nobody in but SSH (ufw)"
}
apply_firewall() {
  install_packages ufw
  if grep -qs '^ENABLED=yes' /etc/ufw/ufw.conf; then return 0; fi
  local port
  ufw default deny incoming
  ufw default allow outgoing
  for port in $(ssh_ports); do ufw allow "$port/tcp" comment SSH; done
  ufw --force enable
}

# --- fail2ban ------------------------------------------------------------------------------------

# The journal, since a fresh system writes no auth.log; every program of the unit, since newer SSH
# servers log from another one (sshd-session). And iptables, which ufw brings along: Debian 13 would
# ban by nft, and nobody is banned where that is not installed.
content_jail() {
  cat <<END
# Written by Vigie's prepare.sh: five failures within 10 minutes are an hour outside.
[sshd]
enabled = true
backend = systemd
journalmatch = _SYSTEMD_UNIT=ssh.service
port = $(ssh_ports | paste -sd, -)
banaction = iptables-multiport
maxretry = 5
findtime = 10m
bantime = 1h
END
}
check_fail2ban() {
  have sshd || return 0
  want_packages fail2ban python3-systemd iptables
  want_file "$JAIL_FILE" content_jail
  want_unit fail2ban.service
}
apply_fail2ban() {
  put_file "$JAIL_FILE" content_jail
  install_packages fail2ban python3-systemd iptables
  fail2ban-client -t >/dev/null
  enable_unit fail2ban.service restart
}

# --- unattended upgrades -------------------------------------------------------------------------

# Debian's own origins come with the package; the Pi's kernel and firmware are from another one.
content_upgrades() {
  cat <<'END'
// Written by Vigie's prepare.sh. The machine is not restarted by itself: see docs/raspberry-pi.md.
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
APT::Periodic::AutocleanInterval "7";
Unattended-Upgrade::Origins-Pattern { "origin=Raspberry Pi Foundation,codename=${distro_codename}"; };
END
}
check_upgrades() {
  want_packages unattended-upgrades
  want_file "$UPGRADES_FILE" content_upgrades
  want_unit apt-daily-upgrade.timer
}
apply_upgrades() {
  install_packages unattended-upgrades
  put_file "$UPGRADES_FILE" content_upgrades
  enable_unit apt-daily-upgrade.timer
}

# --- memory cgroup: the Pi's firmware switches it off, and then no memory limit holds --------------

command_line() {
  local file
  for file in /boot/firmware/cmdline.txt /boot/cmdline.txt; do
    # Older systems keep a hint for people at the old place.
    if [ -f "$file" ] && grep -q 'root=' "$file"; then printf '%s' "$file"; return 0; fi
  done
}
memory_limits_hold() {
  grep -qsw memory /sys/fs/cgroup/cgroup.controllers || [ -d /sys/fs/cgroup/memory ]
}
check_memory() {
  local file word
  file=$(command_line)
  [ -n "$file" ] || return 0
  for word in cgroup_memory=1 cgroup_enable=memory; do
    grep -qw -- "$word" "$file" || want "add $word to $file"
  done
}
apply_memory() {
  local file line word
  file=$(command_line)
  [ -n "$file" ] || return 0
  # The firmware reads one line.
  line=$(tr -d '\r\n' <"$file")
  for word in cgroup_memory=1 cgroup_enable=memory; do
    [[ " $line " == *" $word "* ]] || line="$line $word"
  done
  [ -e "$file.before-vigie" ] || cp "$file" "$file.before-vigie"
  printf '%s\n' "$line" >"$file.new"
  sync "$file.new"
  mv "$file.new" "$file"
}

# --- zram: swap in compressed memory, which wears out no SD card ------------------------------------

content_zram() {
  cat <<'END'
# Written by Vigie's prepare.sh
[zram0]
zram-size = min(ram / 2, 2048)
compression-algorithm = zstd
swap-priority = 100
END
}
# Raspberry Pi OS 13 has its own, and somebody may have chosen another.
zram_by_others() { installed rpi-swap || installed zram-tools; }
check_zram() {
  if zram_by_others; then return 0; fi
  want_packages systemd-zram-generator
  want_file "$ZRAM_FILE" content_zram
  if installed dphys-swapfile && systemctl -q is-enabled dphys-swapfile; then want "stop swapping to the SD card"; fi
}
apply_zram() {
  if zram_by_others; then return 0; fi
  install_packages systemd-zram-generator
  put_file "$ZRAM_FILE" content_zram
  if installed dphys-swapfile; then
    systemctl -q disable dphys-swapfile
    if booted; then systemctl stop dphys-swapfile; fi
  fi
  if booted; then
    systemctl daemon-reload
    # A kernel without zram, such as that of a container, has no such device to start.
    systemctl start systemd-zram-setup@zram0.service ||
      note "did not start; see: systemctl status systemd-zram-setup@zram0"
  fi
}

# --- log limits ----------------------------------------------------------------------------------

content_journal() {
  cat <<'END'
# Written by Vigie's prepare.sh: the journal does not fill the card.
[Journal]
SystemMaxUse=100M
RuntimeMaxUse=32M
END
}
content_daemon() {
  cat <<'END'
{
  "live-restore": true,
  "log-driver": "json-file",
  "log-opts": { "max-file": "3", "max-size": "10m" }
}
END
}
# daemon.json of somebody who chose a log driver, or limits: complete as it is. Else what is missing is
# added, and what is there stays.
daemon_lacks() {
  python3 - "$DAEMON_FILE" "$1" <(content_daemon) <<'END'
import json, os, sys
path, mode, ours = sys.argv[1], sys.argv[2], json.load(open(sys.argv[3]))
try:
    now = json.load(open(path))
except ValueError as error:
    sys.exit(f"prepare.sh: {path} is no JSON: {error}")
if "log-driver" in now or "log-opts" in now:
    del ours["log-driver"], ours["log-opts"]
missing = {name: value for name, value in ours.items() if name not in now}
if mode == "tell":
    print(*missing)
elif missing:
    with open(path + ".new", "w") as new:
        json.dump(now | missing, new, indent=2)
        new.write("\n")
        new.flush()
        os.fsync(new.fileno())
    os.rename(path + ".new", path)
END
}
check_logs() {
  want_file "$JOURNAL_FILE" content_journal
  if [ ! -e "$DAEMON_FILE" ]; then want "write $DAEMON_FILE"; return 0; fi
  # What is only said by this script needs no other program to be compared.
  if cmp -s "$DAEMON_FILE" <(content_daemon); then return 0; fi
  if ! have python3; then want "look into $DAEMON_FILE (needs python3)"; return 0; fi
  local missing
  missing=$(daemon_lacks tell)
  [ -z "$missing" ] || want "set $missing in $DAEMON_FILE"
}
apply_logs() {
  local before
  before=$(cksum "$DAEMON_FILE" 2>/dev/null || true)
  put_file "$JOURNAL_FILE" content_journal
  if [ -e "$DAEMON_FILE" ]; then
    have python3 || install_packages python3-minimal
    daemon_lacks add
  else
    put_file "$DAEMON_FILE" content_daemon
  fi
  if booted; then
    systemctl restart systemd-journald
    if systemctl -q is-active docker && [ "$before" != "$(cksum "$DAEMON_FILE")" ]; then
      systemctl reload docker
      note "the limits hold for containers that are made after Docker's next restart"
    fi
  fi
}

# --- Docker --------------------------------------------------------------------------------------

# Debian's own packages where they have Compose v2, which is from 13 on: they come with the system's
# security updates and need no key of anybody else. Debian 12 has only Compose v1, so there Docker's.
docker_of_debian() { [ "$VERSION_CODENAME" != bookworm ]; }
docker_packages() {
  if docker_of_debian; then
    echo docker.io docker-cli docker-compose docker-buildx
  else
    echo docker-ce docker-ce-cli containerd.io docker-compose-plugin docker-buildx-plugin
  fi
}
content_docker_source() {
  cat <<END
Types: deb
URIs: $DOCKER_REPOSITORY
Suites: $VERSION_CODENAME
Components: stable
Signed-By: $DOCKER_KEY
END
}
compose_works() { have dockerd && docker compose version >/dev/null 2>&1; }
check_docker() {
  compose_works || want "install $(docker_packages)"
  want_unit docker.service
}
apply_docker() {
  if ! compose_works; then
    docker_of_debian || add_docker_repository
    # shellcheck disable=SC2046 # one word for each package
    install_packages $(docker_packages)
  fi
  enable_unit docker.service
}
add_docker_repository() {
  install_packages ca-certificates curl gpg
  local folder found
  folder=$(mktemp -d)
  curl -fsSL --retry 3 --max-filesize 100000 -o "$folder/key.asc" "$DOCKER_REPOSITORY/gpg"
  found=$(gpg --homedir "$folder" --batch --show-keys --with-colons "$folder/key.asc" | awk -F: '$1 == "fpr" { print $10; exit }')
  if [ "$found" != "$DOCKER_KEY_FINGERPRINT" ]; then
    rm -rf "$folder"
    warn "the key of $DOCKER_REPOSITORY is ${found:-none}, expected $DOCKER_KEY_FINGERPRINT: nothing of it is installed"
    return 1
  fi
  mkdir -p "$(dirname "$DOCKER_KEY")"
  gpg --homedir "$folder" --batch --yes --dearmor -o "$DOCKER_KEY" "$folder/key.asc"
  chmod 644 "$DOCKER_KEY"
  rm -rf "$folder"
  put_file "$DOCKER_SOURCE" content_docker_source
  apt-get -q update
}

# --- the run -------------------------------------------------------------------------------------

usage() {
  cat <<END
usage: prepare.sh [--check] [--only STEP]... [--skip STEP]... [--user NAME]

  --check       print what would be changed, change nothing; exit 1 if there is something
  --only STEP   this step alone; --skip STEP: all but this one
  --user NAME   who must be able to log in by key afterwards (else: who called sudo)

steps: ${STEPS[*]}
END
}
known() { [[ " ${STEPS[*]} " == *" $1 "* ]] || { warn "there is no step $1; expected one of: ${STEPS[*]}"; exit 64; }; }

check_only=false only=() skip=() login_user=""
while (($#)); do
  case $1 in
    --check) check_only=true ;;
    --only | --skip | --user)
      (($# > 1)) || { usage >&2; exit 64; }
      case $1 in
        --only) known "$2"; only+=("$2") ;;
        --skip) known "$2"; skip+=("$2") ;;
        --user) login_user=$2 ;;
      esac
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 64 ;;
  esac
  shift
done

chosen() {
  [[ ${#only[@]} == 0 || " ${only[*]} " == *" $1 "* ]] && [[ " ${skip[*]-} " != *" $1 "* ]]
}

[ "$(id -u)" = 0 ] || refuse "must run as root: sudo $0"
# shellcheck disable=SC1091 # it is the same on each Debian
. /etc/os-release
case "${ID:-}:${VERSION_CODENAME:-}" in
  debian:bookworm | debian:trixie | raspbian:bookworm | raspbian:trixie) ;;
  *) refuse "made for Raspberry Pi OS and Debian, bookworm or trixie; this is ${PRETTY_NAME:-another system}" ;;
esac
case $(dpkg --print-architecture) in
  arm64 | amd64) ;;
  *) refuse "Vigie's image is for 64 bit: install the 64-bit Raspberry Pi OS" ;;
esac
if [ -n "$login_user" ] && ! getent passwd "$login_user" >/dev/null; then refuse "there is no user $login_user"; fi
if chosen ssh && have sshd; then keys_are_there || exit 2; fi

found=0
failed=()
if ! $check_only && ! apt-get -q update; then warn "the lists of packages could not be fetched; going on with those that are here"; fi
for step in "${STEPS[@]}"; do
  chosen "$step" || continue
  wants=()
  "check_$step"
  if ((${#wants[@]} == 0)); then
    say "$step: nothing to do"
    continue
  fi
  ((found += ${#wants[@]}))
  printf "$step: %s\n" "${wants[@]}"
  if $check_only; then continue; fi
  # In a process of its own with `set -e` on, which an `if` would switch off.
  set +e
  (set -e; "apply_$step") </dev/null
  status=$?
  set -e
  wants=()
  if ((status == 0)); then "check_$step"; fi
  if ((status != 0 || ${#wants[@]} > 0)); then
    failed+=("$step")
    warn "$step: failed${wants[0]:+; still to do: ${wants[*]}}"
  else
    say "$step: done"
  fi
done

if $check_only; then
  if ((found)); then say "$found things would be changed"; exit 1; fi
  say "nothing to do"
  exit 0
fi
if chosen memory && [ -n "$(command_line)" ] && ! memory_limits_hold; then
  say "restart the machine (sudo reboot): no memory limit holds before"
elif [ -e /run/reboot-required ] || [ -e /var/run/reboot-required ]; then
  say "restart the machine (sudo reboot): an update waits for it"
fi
if ((${#failed[@]})); then warn "failed: ${failed[*]}"; exit 1; fi
say "the machine is prepared"
