#!/usr/bin/env bash
# From the binaries in target/ci to one image for all their architectures, pushed, and its digests in
# target/ci/release.json. Needs Docker with buildx, logged in at the registry.
#
#   IMAGE=registry.example.org/you/vigie VERSION=1.2.3 deploy/ci/image.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${IMAGE:?expected the name of the image, such as registry.example.org/you/vigie}"
: "${VERSION:?expected a version, such as 1.2.3}"
# A registry knows no capitals.
IMAGE=${IMAGE,,}
COMMIT=$(git rev-parse HEAD)

digest() { docker buildx imagetools inspect "$1" --format '{{json .Manifest}}' | jq -er .digest; }

rm -f target/ci/release.json*
parts=()
platforms={}
for folder in target/ci/*/bin; do
  architecture=$(basename "$(dirname "$folder")")
  # The Dockerfile takes what is in dist, for one architecture at a time. It runs nothing, so nothing has to
  # be emulated.
  rm -rf dist
  cp -a "target/ci/$architecture" dist
  docker build --quiet --platform "linux/$architecture" --file deploy/Dockerfile --build-arg BINARIES=prebuilt \
    --build-arg VERSION="$VERSION" --build-arg VIGIE_COMMIT="$COMMIT" \
    --build-arg SOURCE="${SOURCE:-https://vigie.invalid}" \
    --tag "$IMAGE:$VERSION-$architecture" .
  docker push --quiet "$IMAGE:$VERSION-$architecture"
  parts+=("$IMAGE:$VERSION-$architecture")
  platforms=$(jq -c --arg name "linux/$architecture" --arg digest "$(digest "$IMAGE:$VERSION-$architecture")" \
    '. + {($name): $digest}' <<<"$platforms")
done
rm -rf dist
((${#parts[@]})) || { echo "image.sh: target/ci holds no binaries; deploy/ci/build.sh makes them" >&2; exit 1; }
docker buildx imagetools create --tag "$IMAGE:$VERSION" "${parts[@]}"

jq -n --arg image "$IMAGE" --arg version "$VERSION" --arg commit "$COMMIT" --arg digest "$(digest "$IMAGE:$VERSION")" \
  --argjson platforms "$platforms" '{$image, $version, $commit, $digest, $platforms}' | tee target/ci/release.json
