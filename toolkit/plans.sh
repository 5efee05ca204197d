#!/usr/bin/env bash
# plans.sh FOLDER [ARGUMENTS]: fetches the real cuDNN from PyPI into FOLDER/cudnn
# (1.5 GB on disk) and asks it to plan the graphs that this program builds, for
# cards that need not be there (model/examples/plans.rs).
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
# with the server, so that the crates beneath are those of `make cuda-release`
cargo build --release --manifest-path "$here/../Cargo.toml" --package model --package server \
    --features cuda --example plans --locked
LD_LIBRARY_PATH=$wheels/cudnn/lib:$wheels/cu13/lib \
    "${CARGO_TARGET_DIR:-$here/../target}/release/examples/plans" "$@"
