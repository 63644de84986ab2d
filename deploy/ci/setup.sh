#!/usr/bin/env bash
# What the other scripts here need, on a Debian or Ubuntu of a CI: compilers for both architectures, Rust,
# minisign, restic for the tests of backups. What is there already stays.
set -euo pipefail
rust=1.95

root=()
[ "$(id -u)" = 0 ] || root=(sudo)
# The machine's own compiler has a name with its architecture too; only that of the other one is missing.
case $(dpkg --print-architecture) in
  amd64) other=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross) ;;
  arm64) other=(gcc-x86-64-linux-gnu libc6-dev-amd64-cross) ;;
  *) echo "setup.sh: expected an amd64 or arm64 machine" >&2; exit 1 ;;
esac
"${root[@]}" apt-get -q update
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends \
  gcc libc6-dev "${other[@]}" ca-certificates curl git jq minisign python3 python3-pip restic
if ! command -v rustup >/dev/null; then
  curl -fsSL --proto '=https' https://sh.rustup.rs | sh -s -- -y --profile minimal --default-toolchain none
  export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  # The steps of a workflow that come after this one find it too.
  [ -z "${GITHUB_PATH:-}" ] || dirname "$(command -v rustup)" >>"$GITHUB_PATH"
fi
rustup toolchain install "$rust" --profile minimal --component clippy --component rustfmt \
  --target x86_64-unknown-linux-gnu --target aarch64-unknown-linux-gnu
rustup default "$rust"
