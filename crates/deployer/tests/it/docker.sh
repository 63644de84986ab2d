#!/bin/sh
# Stands for the `docker` program: an engine that is a folder, $DOCKER_CONFIG. It takes only the commands that the deployer may
# give, and ends badly on any other.
set -eu
FAKE=$DOCKER_CONFIG
said="$*"
echo "$said" >>"$FAKE/log"
echo "${DOCKER_HOST:-} ${DOCKER_CONTEXT:-} ${DOCKER_TLS_VERIFY:-} ${DOCKER_CERT_PATH:-} ${DEPLOY_FOLDER:-}" >"$FAKE/told"
for one in "$FAKE"/hang-before; do
  if [ -e "$one" ] && case $said in *"$(cat "$one")"*) true ;; *) false ;; esac; then
    rm "$one"; touch "$FAKE/hung"; exec sleep 60
  fi
done
if [ -e "$FAKE/wait-before" ] && case $said in *"$(cat "$FAKE/wait-before")"*) true ;; *) false ;; esac; then
  touch "$FAKE/waiting"
  while [ -e "$FAKE/wait-before" ]; do sleep 0.05; done
fi
if [ -e "$FAKE/fail" ]; then
  case $said in *"$(cat "$FAKE/fail")"*) [ ! -e "$FAKE/once" ] || rm "$FAKE/once" "$FAKE/fail"; echo "the engine is not well" >&2; exit 1 ;; esac
fi

image_file() { echo "$FAKE/images/$(echo "$1" | tr / %)"; }
name_image() { mkdir -p "$FAKE/images"; echo "$2" >"$(image_file "$1")"; echo "$2" >"$FAKE/images/$2"; }
untag() { # untag NAME: an image goes with its last name, which is not taken from one that a container has
  file=$(image_file "$1")
  [ -e "$file" ] || { echo "Error: No such image: $1" >&2; exit 1; }
  image=$(cat "$file")
  names=$(grep -lx "$image" "$FAKE"/images/* | grep -cvxF "$FAKE/images/$image") || true
  if [ "$names" = 1 ]; then
    if grep -qsx "image $image" "$FAKE"/containers/* "$FAKE/helper"; then
      echo "Error response from daemon: conflict: unable to remove repository reference \"$1\" (must force)" >&2; exit 1
    fi
    rm -f "$FAKE/images/$image"
  fi
  rm "$file"
}
make() { # make SERVICE COUNT: so many in all, which run
  for file in $(grep -lx "service $1" "$FAKE"/containers/* 2>/dev/null); do rm -f "$FAKE/stopped/${file##*/}"; done
  while [ "$(grep -lx "service $1" "$FAKE"/containers/* 2>/dev/null | wc -l)" -lt "$2" ]; do
    number=$(($(cat "$FAKE/number" 2>/dev/null || echo 100) + 1))
    echo "$number" >"$FAKE/number"
    case $1 in deployer | backup) image=vigie:local-operations ;; *) image=vigie:local ;; esac
    image=$(cat "$(image_file "$image")")
    printf 'service %s\nimage %s\nfolder %s\n' "$1" "$image" "$folder" >"$FAKE/new"
    mv "$FAKE/new" "$FAKE/containers/$(printf '%012d%052d' "$number" 0)"
  done
}
end() { for id; do [ -e "$FAKE/containers/$id" ] || { echo "No such container: $id" >&2; exit 1; }; rm "$FAKE/containers/$id"; rm -f "$FAKE/stopped/$id"; done; }

compose() {
  folder=
  [ "$COMPOSE_EXPERIMENTAL_GIT_REMOTE $COMPOSE_EXPERIMENTAL_OCI_REMOTE" = "false false" ]
  while :; do
    case $1 in
      --project-directory) folder=$2; shift 2 ;;
      --file)
        # What it is given, or what is in the folder by now.
        image=${VIGIE_IMAGE:-vigie}:${VIGIE_TAG:-local}
        case $2 in
          -) sheet=$(cat) ;;
          *) sheet=$(sed "s|FOLDER|$folder|g; s|COMMIT|${VIGIE_COMMIT:-}|g; s|vigie:local|$image|g" "$2") ;;
        esac
        shift 2 ;;
      --ansi | --project-name | --profile | --env-file) shift 2 ;;
      *) break ;;
    esac
  done
  verb=$1; shift
  case "$verb $*" in
    "config --format json") printf '%s\n' "$sheet" ;;
    "up --detach --no-deps --no-build --pull never --no-recreate --scale "*) printf '%s\n' "$sheet" >>"$FAKE/run"; make "${10}" "${8#*=}" ;;
    "up --detach --no-deps --no-build --pull never --force-recreate --scale "*)
      printf '%s\n' "$sheet" >>"$FAKE/run"
      for file in $(grep -lx "service ${10}" "$FAKE"/containers/* || true); do rm "$file"; done
      make "${10}" "${8#*=}" ;;
    "run --rm --no-deps -T -- keys") ;;
    "run --detach --no-deps -T --name vigie-deployer-successor -- deployer deployer --succeed")
      [ ! -e "$FAKE/helper" ] || { echo "Conflict. The container name is already in use" >&2; exit 1; }
      printf 'service deployer\nimage %s\nfolder %s\n' "$(cat "$(image_file vigie:local-operations)")" "$folder" >"$FAKE/new"
      mv "$FAKE/new" "$FAKE/helper" ;;
    "exec -T -- nats nats-server --signal reload=1") ;;
    "build --quiet -- command-worker") name_image "$VIGIE_IMAGE:$VIGIE_TAG" "$(cat "$folder/image")" ;;
    "build --quiet -- command-worker backup")
      name_image "$VIGIE_IMAGE:$VIGIE_TAG" "$(cat "$folder/image")"
      name_image "$VIGIE_IMAGE:$VIGIE_TAG-operations" "$(cat "$folder/operations")" ;;
    *) echo "compose $verb $*: not allowed" >&2; exit 125 ;;
  esac
}

helper() { # helper STATE: as the engine tells of it
  printf '[{"Id":"helper","Created":"1","Image":"%s","State":{"Status":"%s"},"Config":{"Labels":{}}}]' \
    "$(sed -n 's/^image //p' "$FAKE/helper")" "$1"
}

# Without another process: it is asked very often.
containers() {
  shift 2
  separator='['
  for id; do
    { read -r _ service; read -r _ image; read -r _ folder; } 2>/dev/null <"$FAKE/containers/$id" ||
      { echo "Error: No such container: $id" >&2; exit 1; }
    health=healthy
    [ ! -e "$FAKE/slow/$image" ] || [ "$service" = provision ] || health=starting
    [ ! -e "$FAKE/bad/$image" ] || [ "$service" = provision ] || health=unhealthy
    state=running
    [ ! -e "$FAKE/stopped/$id" ] || state=exited
    printf '%s{"Id":"%s","Created":"%s","Image":"%s","RestartCount":0,"State":{"Status":"%s","Health":{"Status":"%s"}},
      "Config":{"Labels":{"com.docker.compose.service":"%s","com.docker.compose.project.working_dir":"%s"}}}' \
      "$separator" "$id" "$id" "$image" "$state" "$health" "$service" "$folder"
    separator=,
  done
  echo ']'
}

case $said in
  "version --format "*) echo linux/amd64 ;;
  "compose "*) shift; compose "$@" ;;
  "ps --all --quiet --no-trunc --filter "*) ls "$FAKE/containers" ;;
  "inspect --type container -- vigie-deployer-successor")
    [ -e "$FAKE/helper" ] || { echo "Error: No such container: $5" >&2; exit 1; }
    if [ -e "$FAKE/helper-ended" ]; then helper exited; else helper running; fi ;;
  "stop -- vigie-deployer-successor" | "rm -- vigie-deployer-successor")
    [ -e "$FAKE/helper" ] || { echo "Error: No such container: $3" >&2; exit 1; }
    [ "$1" = stop ] || rm -f "$FAKE/helper" "$FAKE/helper-ended" ;;
  "inspect --type container "*) shift; containers "$@" ;;
  "image inspect -- "*)
    file=$(image_file "$4")
    [ -e "$file" ] || { echo "Error: No such image: $4" >&2; exit 1; }
    printf '[{"Id":"%s","Os":"linux","Architecture":"%s"}]\n' "$(cat "$file")" "$(cat "$FAKE/architecture")" ;;
  "image ls --format {{.Tag}} vigie-kept") (cd "$FAKE/images" && ls) | sed -n 's/^vigie-kept://p' ;;
  "image rm -- vigie-kept:"* | "image rm -- registry.example.org/you/vigie@sha256:"*) untag "$4" ;;
  "pull --quiet -- "*) name_image "$4" "sha256:$(echo "${4#*@sha256:}" | tr 0-9a-f a-f0-9)" ;;
  "tag -- "*) name_image "$4" "$(cat "$(image_file "$3")")" ;;
  "stop -- "*) shift 2; for id; do touch "$FAKE/stopped/$id"; done ;;
  "rm -- "*) shift 2; end "$@" ;;
  "logs --tail 20 -- "*) echo "error: the token is refused" ;;
  *) echo "$said: not allowed" >&2; exit 125 ;;
esac
if [ -e "$FAKE/hang-after" ]; then
  case $said in *"$(cat "$FAKE/hang-after")"*) rm "$FAKE/hang-after"; touch "$FAKE/hung"; exec sleep 60 ;; esac
fi
