#!/usr/bin/env bash
# Makes the files of a release for one target in dist/: an archive, a Debian package, a
# wheel and the list of dependencies. The binary is built already (cargo build --release).
#   packaging/dist.sh x86_64-unknown-linux-gnu
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:?the target, for example x86_64-unknown-linux-gnu}
binary=${RESNET:-target/release/resnet}
version=$("$binary" --version | cut -d ' ' -f 2)
name=resnet-$version-$target

rm -rf dist target/package
mkdir -p "dist/$name"
packaging/generate.sh "$binary" target/package
cp -r "$binary" target/package/man target/package/completions packaging/resnet.toml packaging/systemd/resnet.service \
    README.md CHANGELOG.md LICENSE weights/LICENSE.* "dist/$name/"
# The same archive from the same files: sorted, with one date and without a user.
date=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
tar --create --gzip --file "dist/$name.tar.gz" --directory dist \
    --sort name --mtime "@$date" --owner 0 --group 0 --numeric-owner "$name"
rm -rf "dist/${name:?}"
SOURCE_DATE_EPOCH=$date cargo deb --no-build --no-strip --package resnet-server --output dist/
SOURCE_DATE_EPOCH=$date packaging/wheel.sh "$binary" dist
# cargo-cyclonedx writes it beside the manifest.
[ ! -e server/resnet-server.cdx.json ] || cp server/resnet-server.cdx.json "dist/$name.cdx.json"
