#!/bin/sh
# `vigie` at the command line, with the key of the person who runs it; root alone can read that.
case ${1:-} in
  provision) key=/etc/vigie/keys/provision/nats.nk ;;
  *) key=/etc/vigie/keys/operator/nats.nk ;;
esac
if [ -z "${NATS_NKEY:-}${NATS_NKEY_FILE:-}" ] && [ -r "$key" ]; then export NATS_NKEY_FILE="$key"; fi
exec /usr/local/lib/vigie/vigie "$@"
