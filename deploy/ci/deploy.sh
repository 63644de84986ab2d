#!/usr/bin/env bash
# Tells a server of yours that there is a new release. Where the secrets DEPLOY_WEBHOOK_URL and
# DEPLOY_WEBHOOK_SECRET are not set, nothing is told.
#
# The request is a POST of {"release": the text of release.json, "signature": that of release.json.minisig
# or null, "delivery": a name of its own, so that a step that is run again is not taken for the same}.
# X-Hub-Signature-256 is the HMAC-SHA256 of its body, as GitHub's webhooks have it.
set -euo pipefail
cd "$(dirname "$0")/../../target/ci"
if [ -z "${DEPLOY_WEBHOOK_URL:-}" ] || [ -z "${DEPLOY_WEBHOOK_SECRET:-}" ]; then
  echo "nothing is deployed: DEPLOY_WEBHOOK_URL and DEPLOY_WEBHOOK_SECRET are not both set"
  exit 0
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
signature=null
[ ! -e release.json.minisig ] || signature=$(jq -Rs . release.json.minisig)
delivery=$(cat /proc/sys/kernel/random/uuid)
jq -nc --rawfile release release.json --argjson signature "$signature" --arg delivery "$delivery" \
  '{$release, $signature, $delivery}' >"$folder/body"
# In Python, since the arguments of a program are seen by all on a machine.
hmac=$(python3 -c 'import hashlib, hmac, os, sys
print(hmac.new(os.environb[b"DEPLOY_WEBHOOK_SECRET"], sys.stdin.buffer.read(), hashlib.sha256).hexdigest())' <"$folder/body")
curl -fsS --max-time 30 --retry 3 --proto '=https,http' -H 'Content-Type: application/json' \
  -H "X-Hub-Signature-256: sha256=$hmac" -H "X-GitHub-Delivery: $delivery" \
  --data-binary "@$folder/body" "$DEPLOY_WEBHOOK_URL"
