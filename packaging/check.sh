#!/usr/bin/env bash
# `make packages-check`: makes the wheel, the Debian package and the files of the image
# from the release binary, installs them and runs what they installed. Each part prints `skipped` if it needs what
# is not there. RESNET is the binary.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${RESNET:-target/release/resnet}
work=$PWD/target/package
version=$("$binary" --version)
skip() { echo "skipped: packages: $*"; }

packaging/generate.sh "$binary" "$work"
if command -v man > /dev/null; then
    pages=0
    for page in "$work"/man/*.1; do
        warnings=$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings --no-justification --no-hyphenation -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 > /dev/null)
        [ -z "$warnings" ] || { echo "$page: $warnings"; exit 1; }
        pages=$((pages + 1))
    done
    echo "packages: $pages manual pages without warnings"
else
    skip "man is not installed"
fi
for shell in bash:resnet zsh:_resnet fish:resnet.fish; do
    command -v "${shell%%:*}" > /dev/null || { skip "${shell%%:*} is not installed"; continue; }
    "${shell%%:*}" -n "$work/completions/${shell#*:}"
    echo "packages: the completions for ${shell%%:*} have no syntax errors"
done

# The files of the container image, without an engine.
triple=$(uname -m)-linux-gnu
if [ "$(id -u)" = 0 ] && command -v "$triple-gcc" > /dev/null; then
    rm -rf "$work/image"
    mkdir -p "$work/image"
    cp "$binary" "$work/image/resnet"
    docker/libraries.sh "$binary" "$work/image" "$triple"
    [ "$(chroot "$work/image" /resnet --version)" = "$version" ]
    echo "packages: the binary runs with the libraries of the container image alone"
else
    skip "chroot is allowed only to root"
fi

rm -rf "$work"/*.whl "$work/venv"
if python3 -m venv "$work/build" && PYTHON=$work/build/bin/python packaging/wheel.sh "$binary" "$work"; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-index "$work"/*.whl
    [ "$("$work/venv/bin/resnet" --version)" = "$version" ]
    "$work/venv/bin/resnet" classify --dtype f32 photos/cat.jpg > /dev/null
    echo "packages: $(basename "$work"/*.whl) installed: $version"
else
    skip "the wheel needs hatchling from PyPI"
fi

if ! cargo deb --version > /dev/null 2>&1; then
    skip "cargo-deb is not installed"
    exit 0
fi
cargo deb --quiet --fast --no-build --no-strip --package resnet-server --output "$work/resnet.deb"
dpkg-deb --contents "$work/resnet.deb" > "$work/contents.txt"
for file in usr/bin/resnet etc/resnet/resnet.toml usr/share/man/man1/resnet-serve.1.gz system/resnet.service \
    usr/share/bash-completion/completions/resnet usr/share/doc/resnet/LICENSE.open_nsfw; do
    grep -qF -- "$file" "$work/contents.txt" || { echo "the Debian package has no $file"; exit 1; }
done
if [ "$(id -u)" != 0 ] || dpkg -s resnet > /dev/null 2>&1; then
    skip "the Debian package is installed only as root, and where it is not installed already"
    exit 0
fi
trap 'dpkg --purge resnet > /dev/null' EXIT
dpkg --install "$work/resnet.deb" > /dev/null
[ "$(/usr/bin/resnet --version)" = "$version" ]
if command -v systemd-analyze > /dev/null; then
    systemd-analyze verify --man=no resnet.service
    systemd-analyze security --offline=true --threshold=20 resnet.service | tail -n 1
fi
echo "packages: the Debian package installed: $version"
