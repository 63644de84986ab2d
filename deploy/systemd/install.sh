#!/bin/sh
# Puts Vigie's binaries, units and settings where systemd finds them. Run again after an update: it writes
# over programs and units, never over what is in /etc/vigie. It starts nothing.
#
#   sudo deploy/systemd/install.sh FOLDER     FOLDER holds the binaries of Vigie, and nats-server (2.14 or newer)
set -eu
# What root runs, what nobody replaces, and what replaces the others.
fixed="vigie nats-server deployer"
# What a deployer may replace: it lies in /var/lib/vigie, below the name of its release.
replaced="vigie discord-gateway twitch-gateway command-worker healthcheck backup webhook-deploy"
here=$(cd "$(dirname "$0")" && pwd)
[ $# = 1 ] || { echo "usage: install.sh FOLDER-WITH-THE-BINARIES" >&2; exit 64; }
[ "$(id -u)" = 0 ] || { echo "install.sh: must run as root" >&2; exit 1; }
for name in $fixed $replaced; do
  [ -x "$1/$name" ] || { echo "install.sh: $1/$name is missing" >&2; exit 1; }
done
[ -s /etc/ssl/certs/ca-certificates.crt ] || { echo "install.sh: no certificates: apt-get install ca-certificates" >&2; exit 1; }

install -d /etc/sysusers.d /etc/polkit-1/rules.d
install -m 644 "$here/sysusers.conf" /etc/sysusers.d/vigie.conf
install -m 644 "$here/polkit.rules" /etc/polkit-1/rules.d/50-vigie.rules
systemd-sysusers /etc/sysusers.d/vigie.conf

units=/etc/systemd/system
# A program that runs is replaced whole, by a new file beside it.
install -d /usr/local/lib/vigie /usr/local/bin "$units/vigie-.service.d"
for name in $fixed; do
  install -m 755 "$1/$name" "/usr/local/lib/vigie/.$name.new"
  mv "/usr/local/lib/vigie/.$name.new" "/usr/local/lib/vigie/$name"
done
rm -f /usr/local/bin/vigie
install -m 755 "$here/vigie.sh" /usr/local/bin/vigie

# A release is called after what is in it, so that the same again changes nothing.
sum=$(for name in $replaced; do sha256sum <"$1/$name"; done | sha256sum | cut -c1-12)
data=/var/lib/vigie release=installed-$sum
install -d "$data" "$data/releases" "$data/units"
if [ ! -d "$data/releases/$release" ]; then
  rm -rf "$data/releases/.new"
  install -d "$data/releases/.new/bin"
  for name in $replaced; do install -m 755 "$1/$name" "$data/releases/.new/bin/"; done
  mv "$data/releases/.new" "$data/releases/$release"
fi
before=$(readlink "$data/current" || true)
point() { # point LINK WHERE: in one step
  ln -s "$2" "$1.new"
  mv -T "$1.new" "$1"
}
rm -f "$data"/*.new "$data"/units/*.new
point "$data/current" "releases/$release"
# Each unit starts what its link says, so that one that ends during an update begins anew as what it was.
for unit in provision healthcheck backup webhook-deploy; do point "$data/units/vigie-$unit" "../releases/$release"; done
for unit in command-worker discord-gateway twitch-gateway; do
  for number in 0 1 2 3 4 5 6 7 8 9; do point "$data/units/vigie-$unit@$number" "../releases/$release"; done
done
# What was installed by hand before the last time.
for old in "$data"/releases/installed-*; do
  case $old in "$data/releases/$release" | "$data/$before") ;; *) rm -rf "$old" ;; esac
done
chown -R -h vigie-deployer:vigie-deployer "$data"


install -m 644 "$here"/vigie*.service "$here/vigie.target" "$units/"
install -m 644 "$here/hardening.conf" "$units/vigie-.service.d/10-hardening.conf"
for name in healthcheck backup deployer; do
  install -d "$units/vigie-$name.service.d"
  install -m 644 "$here/vigie-$name.conf" "$units/vigie-$name.service.d/20-besides.conf"
done

install -d -m 755 /etc/vigie
install -d -m 700 /etc/vigie/hooks
keep() { # keep NAME MODE FILE: FILE as /etc/vigie/NAME, unless somebody has one there
  [ -e "/etc/vigie/$1" ] || install -m "$2" "$3" "/etc/vigie/$1"
}
keep nats.conf 644 "$here/nats.conf"
keep vigie.env 644 "$here/vigie.env"
keep discord.env 600 "$here/discord.env"
keep twitch.env 600 "$here/twitch.env"
keep healthcheck.env 600 "$here/healthcheck.env"
keep backup.env 600 "$here/backup.env"
keep deployer.env 600 "$here/deployer.env"

# Makes what is missing, and writes down what this version may do.
/usr/local/lib/vigie/vigie keys /etc/vigie/keys

[ ! -d /run/systemd/system ] || systemctl daemon-reload
echo "fill in /etc/vigie/discord.env and twitch.env, then: systemctl enable --now vigie.target"
