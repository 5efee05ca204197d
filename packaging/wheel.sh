#!/usr/bin/env bash
# Packs a built binary into a Python wheel, so that `pip install` puts `resnet` on the
# path. The wheel has the same binary as the archive and the Debian package; maturin
# would compile another one.
#   packaging/wheel.sh [BINARY [FOLDER]]
# PYTHON is an interpreter with pip. Needs PyPI (hatchling) and readelf.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${1:-target/release/resnet}
folder=${2:-target/package}
python=${PYTHON:-python3}
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

cp packaging/python/* LICENSE weights/LICENSE.* "$stage/"
install --mode 755 "$binary" "$stage/resnet"
# The one version of the workspace.
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
sed -i "s/^version = .*/version = \"$version\"/" "$stage/pyproject.toml"
# The oldest glibc with every symbol that the binary needs.
glibc=$(readelf --version-info --wide "$binary" | grep -o 'GLIBC_2\.[0-9]*' | sort -Vu | tail -n 1)
machine=$(readelf --file-header --wide "$binary" | sed -n 's/.*Machine: *//p')
case $machine in
    *X86-64*) machine=x86_64 ;;
    AArch64) machine=aarch64 ;;
    *) echo "$binary is for $machine; wheels are for x86-64 and AArch64" >&2; exit 1 ;;
esac
glibc=${glibc#GLIBC_}
[ -n "$glibc" ] || { echo "$binary needs no glibc; wheels are for glibc" >&2; exit 1; }
export WHEEL_PLATFORM=manylinux_${glibc/./_}_$machine
mkdir -p "$folder"
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$folder" "$stage"
