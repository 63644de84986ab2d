#!/bin/sh
# Replaces services without a pause, each after the other: new containers start beside the old ones, and only when
# they are healthy do the old ones end. What cannot be made healthy is taken away again, and the old ones stay.
#
#   deploy/compose/roll.sh                     both gateways and the workers
#   deploy/compose/roll.sh command-worker      only these
#
# Other projects by the variables of Compose: COMPOSE_PROJECT_NAME=other COMPOSE_ENV_FILES=other.env
set -eu
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- discord-gateway twitch-gateway command-worker

running() { docker compose ps --quiet "$1"; }
scale() { docker compose up --detach --no-deps --no-recreate --wait --scale "$1=$2" "$1"; }

# NATS must know first what the new ones may do. Not by `docker compose kill --signal HUP`: whatever was killed like
# that, Docker does not start again after a crash.
docker compose run --rm --no-deps keys
docker compose exec -T nats nats-server --signal reload=1

for service; do
  old=$(running "$service")
  if [ -z "$old" ]; then echo "roll.sh: $service does not run"; continue; fi
  count=$(echo "$old" | wc -l)
  if ! scale "$service" $((2 * count)); then
    for container in $(docker compose ps --all --quiet "$service"); do
      case $old in *"$container"*) ;; *) docker rm --force "$container" >/dev/null ;; esac
    done
    echo "roll.sh: the new $service is not healthy; the old one goes on" >&2
    exit 1
  fi
  # shellcheck disable=SC2086
  docker stop $old >/dev/null
  # shellcheck disable=SC2086
  docker rm $old >/dev/null
  scale "$service" "$count"
done
