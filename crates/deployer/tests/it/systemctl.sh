#!/bin/sh
# Stands for the `systemctl` program: a machine that is a folder, $DOCKER_CONFIG, with units that run as files. It takes only
# what the deployer may ask, and ends badly on anything else.
set -eu
FAKE=$DOCKER_CONFIG
PROGRAMS=$(cat "$FAKE/programs")
said="$*"; said=${said#--no-ask-password }
echo "$said" >>"$FAKE/log"
hang() { # hang WHEN: once, when it is said so
  if [ -e "$FAKE/hang-$1" ]; then
    case $said in *"$(cat "$FAKE/hang-$1")"*) rm "$FAKE/hang-$1"; touch "$FAKE/hung"; exec sleep 60 ;; esac
  fi
}
hang before
if [ -e "$FAKE/fail" ]; then
  case $said in *"$(cat "$FAKE/fail")"*) echo "systemd is not well" >&2; exit 1 ;; esac
fi

# Without another process: it is asked very often.
show() {
  for unit; do
    case $unit in *.service) unit=${unit%.service} ;; *) continue ;; esac
    if [ -e "$FAKE/given-up/$unit" ]; then printf 'Id=%s.service\nActiveState=failed\nSubState=failed\n\n' "$unit"; continue; fi
    # What is not there ends while it is asked for.
    { read -r release invocation began <"$FAKE/units/$unit"; } 2>/dev/null || { printf 'Id=%s.service\nActiveState=inactive\n\n' "$unit"; continue; }
    state=active sub=running restarts=0
    if [ -e "$FAKE/bad/$release" ] && [ "$unit" != vigie-provision ]; then state=activating sub=auto-restart restarts=2; fi
    if [ -e "$FAKE/starting/$unit" ]; then state=activating sub=start; fi
    name=${unit#vigie-}
    case $name in *@*) name=${name%@*}-${name#*@} ;; esac
    printf 'Id=%s.service\nActiveState=%s\nSubState=%s\nInvocationID=%s\nNRestarts=%s\nExecMainStartTimestamp=@%s\n' \
      "$unit" "$state" "$sub" "$invocation" "$restarts" "$began"
    printf 'Environment=NO_COLOR=1 VIGIE_INSTANCE=ship-%s\n\n' "$name"
  done
}
start() {
  [ ! -e "$FAKE/units/$1" ] || return 0
  release=$(basename "$(readlink "$PROGRAMS/units/$1")")
  number=$(($(cat "$FAKE/number" 2>/dev/null || echo 100) + 1))
  echo "$number" >"$FAKE/number"
  [ -d "$PROGRAMS/units/$1/bin" ] || { echo "there is no $release" >&2; exit 1; }
  echo "$release $number $(date +%s)" >"$FAKE/new"
  mv "$FAKE/new" "$FAKE/units/$1"
}

case $said in
  "show --property=Version") echo Version=252 ;;
  "show --timestamp=unix --property=Id,"*) show "$@" ;;
  "start -- vigie-"*.service) name=${said#start -- }; start "${name%.service}" ;;
  "stop -- vigie-"*.service) name=${said#stop -- }; rm -f "$FAKE/starting/${name%.service}" "$FAKE/units/${name%.service}" ;;
  "reset-failed -- vigie-"*.service) echo "Failed to reset failed state: Unit ${said##* } not loaded." >&2; exit 1 ;;
  *) echo "$said: not allowed" >&2; exit 125 ;;
esac
hang after
