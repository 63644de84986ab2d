#!/usr/bin/env bash
# Static binaries for amd64 and arm64, by cross-compilation: target/ci/<architecture>/, laid out as the
# image has them.
#
#   deploy/ci/build.sh [amd64] [arm64]      both when none is named
set -euo pipefail
cd "$(dirname "$0")/../.."
(($#)) || set -- amd64 arm64
# Every crate with a main.rs is a binary of its name; xtask is none of the bot's.
mapfile -t binaries < <(printf '%s\n' crates/*/src/main.rs | cut -d/ -f2 | grep -vx xtask)

VIGIE_COMMIT=${VIGIE_COMMIT:-$(git rev-parse --short=10 HEAD)}
export VIGIE_COMMIT
# Static with glibc, which resolves names without any file.
export RUSTFLAGS="-C target-feature=+crt-static"
for architecture; do
  case $architecture in
    amd64) triple=x86_64-unknown-linux-gnu tools=x86_64-linux-gnu ;;
    arm64) triple=aarch64-unknown-linux-gnu tools=aarch64-linux-gnu ;;
    *) echo "build.sh: expected amd64 or arm64, found $architecture" >&2; exit 64 ;;
  esac
  name=${triple//-/_}
  export "CC_$name=$tools-gcc" "AR_$name=$tools-ar" "CARGO_TARGET_${name^^}_LINKER=$tools-gcc"
  cargo build --locked --release --bins --target "$triple" "${binaries[@]/#/--package=}"
  out=target/ci/$architecture
  rm -rf "$out"
  mkdir -p "$out/bin" "$out/etc/ssl/certs"
  for binary in "${binaries[@]}"; do install -m 755 "target/$triple/release/$binary" "$out/bin/"; done
  cp /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/"
done
