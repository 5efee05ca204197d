#!/usr/bin/env bash
# `make aarch64`: on another processor, runs the unit tests of the kernels for aarch64
# under qemu, once for each kind of CPU, then builds the binary and classifies a photo in
# each data type. Prints `skipped` if something is missing. Needs Debian's
# gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user, and
# `rustup target add aarch64-unknown-linux-gnu`. With RUSTC set, that compiler is used and
# must have the target.
# Arguments are tests to run instead: packaging/aarch64.sh --package resnet-weights --lib
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

# on CPU CARGO-ARGUMENTS: runs tests on this CPU.
on() {
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu $1 -L $root" \
        cargo test --locked --target "$target" "${@:2}"
}
if [ $# -gt 0 ]; then
    on max "$@"
    exit
fi

# max has every instruction set. The skipped tests take minutes under qemu.
on max --package resnet-model --lib -- --skip peak --skip winograd_matches --skip amx_tasks --skip alone_and_in_a_batch
# neoverse-n1 has the dot products of 8-bit integers only, cortex-a72 has none: other
# instruction sets must not be detected.
for cpu in neoverse-n1 cortex-a72; do
    on "$cpu" --package resnet-model --lib -- small_convolutions unpacked_weights linear_layers
done

cargo build --release --locked --target "$target" --package resnet-server
resnet() { qemu-aarch64 -cpu max -L "$root" "${CARGO_TARGET_DIR:-target}/$target/release/resnet" "$@"; }
quantized=$(mktemp --directory)
trap 'rm -r "$quantized"' EXIT
resnet quantize --calibrate photos --images 2 resnet50_thin "$quantized/int8.safetensors"
resnet classify --dtype f32 photos/cat.jpg
resnet classify --dtype bf16 photos/cat.jpg
resnet classify --model "$quantized/int8.safetensors" photos/cat.jpg
