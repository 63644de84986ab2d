#!/bin/sh
# Puts Vigie's binaries, units and settings where systemd finds them. Run again after an update: it writes
# over programs and units, never over what is in /etc/vigie. It starts nothing.
#
#   sudo deploy/systemd/install.sh FOLDER     FOLDER holds vigie, discord-gateway, twitch-gateway,
#                                             command-worker, healthcheck and nats-server (2.14 or newer)
set -eu
programs="vigie discord-gateway twitch-gateway command-worker healthcheck nats-server"
here=$(cd "$(dirname "$0")" && pwd)
[ $# = 1 ] || { echo "usage: install.sh FOLDER-WITH-THE-BINARIES" >&2; exit 64; }
[ "$(id -u)" = 0 ] || { echo "install.sh: must run as root" >&2; exit 1; }
for name in $programs; do
  [ -x "$1/$name" ] || { echo "install.sh: $1/$name is missing" >&2; exit 1; }
done
[ -s /etc/ssl/certs/ca-certificates.crt ] || { echo "install.sh: no certificates: apt-get install ca-certificates" >&2; exit 1; }

units=/etc/systemd/system
# A program that runs is replaced whole, by a new file beside it.
install -d /usr/local/lib/vigie /usr/local/bin "$units/vigie-.service.d" "$units/vigie-healthcheck.service.d"
for name in $programs; do
  install -m 755 "$1/$name" "/usr/local/lib/vigie/.$name.new"
  mv "/usr/local/lib/vigie/.$name.new" "/usr/local/lib/vigie/$name"
done
rm -f /usr/local/bin/vigie
install -m 755 "$here/vigie.sh" /usr/local/bin/vigie
install -m 644 "$here"/vigie*.service "$here/vigie.target" "$units/"
install -m 644 "$here/hardening.conf" "$units/vigie-.service.d/10-hardening.conf"
install -m 644 "$here/vigie-healthcheck.conf" "$units/vigie-healthcheck.service.d/20-machine.conf"

install -d -m 755 /etc/vigie
keep() { # keep NAME MODE FILE: FILE as /etc/vigie/NAME, unless somebody has one there
  [ -e "/etc/vigie/$1" ] || install -m "$2" "$3" "/etc/vigie/$1"
}
keep nats.conf 644 "$here/nats.conf"
keep vigie.env 644 "$here/vigie.env"
keep discord.env 600 "$here/discord.env"
keep twitch.env 600 "$here/twitch.env"
keep healthcheck.env 600 "$here/healthcheck.env"

# Makes what is missing, and writes down what this version may do.
/usr/local/lib/vigie/vigie keys /etc/vigie/keys

[ ! -d /run/systemd/system ] || systemctl daemon-reload
echo "fill in /etc/vigie/discord.env and twitch.env, then: systemctl enable --now vigie.target"
