#!/bin/sh
# Gives each service on Kubernetes its key for NATS, and NATS the table of who may do what: as secrets.
#
#   deploy/kubernetes/keys.sh FOLDER [NAMESPACE] | kubectl apply -f -
#
# FOLDER is what `vigie keys FOLDER` has made; keep it, and the key of the operator in it, on your own computer.
# Nothing here talks to the cluster. Again after an update, or when a key is new.
set -eu
folder=${1:?usage: keys.sh FOLDER [NAMESPACE]}
namespace=${2:-vigie}
[ -r "$folder/nats/users.conf" ] || { echo "keys.sh: $folder/nats/users.conf is missing: vigie keys $folder" >&2; exit 1; }

secret() { # secret NAME FILE: a file as a secret of one key, the file's name
  kubectl create secret generic "$1" --namespace "$namespace" --from-file "$2" --dry-run=client --output yaml
  echo ---
}
secret nats-users "$folder/nats/users.conf"
for key in "$folder"/*/nats.nk; do
  user=$(basename "$(dirname "$key")")
  # That of the person at the command line is for nobody in the cluster.
  [ "$user" = operator ] || secret "key-$user" "$key"
done
