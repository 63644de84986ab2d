#!/bin/sh
# `vigie` at the command line, with the key of the person who runs it; root alone can read that. What looks at settings
# is told those of all services.
settings() { # NAME=value as systemd reads them; what is set already wins
  while IFS= read -r line || [ -n "$line" ]; do
    name=${line%%=*} value=${line#*=}
    case $name in "$line" | "" | [0-9]* | *[!A-Za-z0-9_]*) continue ;; esac
    case $value in \"*\") value=${value#?} value=${value%?} ;; \'*\') value=${value#?} value=${value%?} ;; esac
    printenv "$name" >/dev/null || export "$name=$value"
  done <"$1"
}

case ${1:-} in
  provision) key=/etc/vigie/keys/provision/nats.nk ;;
  *) key=/etc/vigie/keys/operator/nats.nk ;;
esac
case ${1:-} in
  check | doctor) for file in /etc/vigie/*.env; do [ ! -r "$file" ] || settings "$file"; done ;;
esac
if [ -z "${NATS_NKEY:-}${NATS_NKEY_FILE:-}" ] && [ -r "$key" ]; then export NATS_NKEY_FILE="$key"; fi
exec /usr/local/lib/vigie/vigie "$@"
