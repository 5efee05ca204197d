#!/usr/bin/env bash
# plans.sh FOLDER [ARGUMENTS]: downloads the real cuDNN from PyPI into FOLDER/cudnn
# (1.5 GB on disk) and runs model/examples/plans.rs with it, which plans this
# project's graphs for GPUs that are not in this machine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?folder}
shift
exports=$("$here/install.sh" "$folder")
eval "$exports"
if [ ! -e "$CUDA_HOME/cudnn/complete" ]; then
    python3 -m venv "$CUDA_HOME/cudnn"
    "$CUDA_HOME/cudnn/bin/pip" install --quiet --disable-pip-version-check \
        nvidia-cudnn-cu13==9.21.1.3 nvidia-cublas==13.1.0.3 nvidia-cuda-nvrtc==13.0.88
    touch "$CUDA_HOME/cudnn/complete"
fi
wheels=$(echo "$CUDA_HOME"/cudnn/lib/python3*/site-packages/nvidia)
# together with the server, to reuse the dependencies built by `make cuda-release`
cargo build --release --manifest-path "$here/../Cargo.toml" --package resnet-model --package resnet-server \
    --features cuda --example plans --locked
LD_LIBRARY_PATH=$wheels/cudnn/lib:$wheels/cu13/lib \
    "${CARGO_TARGET_DIR:-$here/../target}/release/examples/plans" "$@"
