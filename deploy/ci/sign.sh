#!/usr/bin/env bash
# Signs target/ci/release.json, so that whoever has your public key knows which images are yours.
#
# MINISIGN_KEY holds a secret key without a password, made once with   minisign -G -W -p vigie.pub -s vigie.key
# Keep vigie.key as a secret of the CI and nowhere else; vigie.pub may be known to all. To check:
#   minisign -V -p vigie.pub -m release.json
# Where UPLOAD_URL is set, both files and the archives are put there, below the version, as UPLOAD_USER with UPLOAD_PASSWORD.
set -euo pipefail
cd "$(dirname "$0")/../../target/ci"
if [ -z "${MINISIGN_KEY:-}" ]; then echo "not signed: there is no secret MINISIGN_KEY"; exit 0; fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
(umask 077 && printf '%s\n' "$MINISIGN_KEY" >"$folder/key")
version=$(jq -er .version release.json)
minisign -S -s "$folder/key" -m release.json -t "vigie $version $(jq -er .digest release.json)" </dev/null
minisign -R -s "$folder/key" -p "$folder/key.pub" </dev/null >/dev/null
minisign -V -p "$folder/key.pub" -m release.json

[ -n "${UPLOAD_URL:-}" ] || exit 0
# A file of settings, since the arguments of a program are seen by all on a machine.
(umask 077 && jq -rn '"user = " + ("\(env.UPLOAD_USER):\(env.UPLOAD_PASSWORD)" | tojson)' >"$folder/curl")
# The archives first: whoever sees the release finds them.
for file in vigie-*.tar.gz release.json release.json.minisig; do
  curl -fsS --max-time 900 --retry 3 --config "$folder/curl" --upload-file "$file" "$UPLOAD_URL/$version/$file"
done
