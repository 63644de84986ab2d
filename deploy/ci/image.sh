#!/usr/bin/env bash
# From the binaries in target/ci to two images for all their architectures, pushed, and their digests in
# target/ci/release.json: $IMAGE:$VERSION, and $IMAGE:$VERSION-operations with the programs that backup and deployer
# call. For machines without Docker also to an archive for each, target/ci/vigie-$VERSION-<architecture>.tar.gz, and
# its sum. Needs Docker with buildx, logged in at the registry.
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

# one TAG TARGET: an image for each architecture, and one name for all of them; sets $made to their digests.
one() {
  local tag=$1 target=$2 architecture folder platforms={} parts=()
  for folder in target/ci/*/bin; do
    architecture=$(basename "$(dirname "$folder")")
    # The Dockerfile takes what is in dist, for one architecture at a time. It runs nothing of another one, so
    # nothing has to be emulated.
    rm -rf dist
    cp -a "target/ci/$architecture" dist
    docker build --quiet --platform "linux/$architecture" --file deploy/Dockerfile ${target:+--target "$target"} \
      --build-arg BINARIES=prebuilt --build-arg VERSION="$VERSION" --build-arg VIGIE_COMMIT="$COMMIT" \
      --build-arg SOURCE="${SOURCE:-https://vigie.invalid}" --tag "$tag-$architecture" .
    docker push --quiet "$tag-$architecture"
    parts+=("$tag-$architecture")
    platforms=$(jq -c --arg name "linux/$architecture" --arg digest "$(digest "$tag-$architecture")" \
      '. + {($name): $digest}' <<<"$platforms")
  done
  rm -rf dist
  docker buildx imagetools create --tag "$tag" "${parts[@]}"
  made=$(jq -nc --arg digest "$(digest "$tag")" --argjson platforms "$platforms" '{$digest, $platforms}')
}

# archives: one for each architecture; sets $made to their names and sums.
archives() {
  local folder architecture file sum
  made={}
  for folder in target/ci/*/bin; do
    architecture=$(basename "$(dirname "$folder")")
    file=vigie-$VERSION-$architecture.tar.gz
    # Files with nothing but their names: what a link leads to is put in its place.
    (cd "$folder" && tar -cf - --dereference --hard-dereference --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -- *) |
      gzip -n9 >"target/ci/$file"
    sum=$(sha256sum <"target/ci/$file" | cut -d' ' -f1)
    made=$(jq -c --arg name "linux/$architecture" --arg file "$file" --arg sha256 "$sum" \
      '. + {($name): {$file, $sha256}}' <<<"$made")
  done
}

rm -f target/ci/release.json* target/ci/vigie-*.tar.gz
compgen -G 'target/ci/*/bin' >/dev/null ||
  { echo "image.sh: target/ci holds no binaries; deploy/ci/build.sh makes them" >&2; exit 1; }
one "$IMAGE:$VERSION-operations" operations
operations=$made
one "$IMAGE:$VERSION" ""
image_of_all=$made
archives
jq -n --arg image "$IMAGE" --arg version "$VERSION" --arg commit "$COMMIT" --argjson image_of_all "$image_of_all" \
  --argjson operations "$operations" --argjson binaries "$made" \
  '{$image, $version, $commit} + $image_of_all + {$operations, $binaries}' |
  tee target/ci/release.json
