#!/usr/bin/env bash
# `make aarch64`: builds the binary for aarch64 on another processor and classifies a
# photo with it under qemu. Needs Debian's gcc-aarch64-linux-gnu, libc6-dev-arm64-cross
# and qemu-user, and `rustup target add aarch64-unknown-linux-gnu`. With RUSTC set, that
# compiler is used and must have the target. Prints `skipped` if something is missing.
# Arguments are tests to run under qemu: packaging/aarch64.sh --package resnet-model --lib
set -euo pipefail
cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-gnu
root=/usr/aarch64-linux-gnu

skip() { echo "skipped: aarch64: $*"; exit 0; }
for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$tool" > /dev/null || skip "$tool is not installed"
done
if [ -z "${RUSTC:-}" ]; then
    rustup target add "$target" > /dev/null 2>&1 || skip "rustup cannot install the target $target"
fi
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
# -cpu max has the dot products, i8mm and bf16.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu max -L $root"
if [ $# -gt 0 ]; then
    cargo test --locked --target "$target" "$@"
    exit
fi
cargo build --release --locked --target "$target" --package resnet-server
qemu-aarch64 -cpu max -L "$root" "${CARGO_TARGET_DIR:-target}/$target/release/resnet" classify --dtype f32 photos/cat.jpg
