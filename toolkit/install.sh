#!/usr/bin/env bash
# install.sh FOLDER [real]: lays FOLDER out as the CUDA_HOME of this project's
# builds: an nvcc (see `nvcc`) and libraries to link with that are opened at run
# time (see `libraries.py`). With `real` also NVIDIA's compiler, from PyPI into
# FOLDER/venv: 105 MB to fetch, and a status of 75 where PyPI does not give it.
# Prints what to export. Needs Python 3 and cc.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?folder}
mkdir -p "$folder/bin" "$folder/include" "$folder/lib64"
folder=$(cd "$folder" && pwd)

install -m 755 "$here/nvcc" "$folder/bin/nvcc"
# what cudarc's build script looks for in a CUDA_HOME
touch "$folder/include/cuda.h"
# the functions are those of the cudarc that Cargo.lock names
source=$(cargo metadata --manifest-path "$here/../Cargo.toml" --locked --format-version 1 --features cuda |
    python3 -c 'import json, sys
packages = json.load(sys.stdin)["packages"]
print(next(p["manifest_path"] for p in packages if p["name"] == "cudarc"))')
python3 "$here/libraries.py" "$folder/lib64" "$(dirname "$source")/src"
ln -sfn lib64 "$folder/lib"

if [ "${2:-}" = real ] && [ ! -e "$folder/venv/complete" ]; then
    rm -rf "$folder/venv"
    python3 -m venv "$folder/venv"
    # one minor version throughout: a newer compiler is unknown to cudarc
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --retries 2 --timeout 60 \
        nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 \
        nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 >&2 || exit 75
    touch "$folder/venv/complete"
fi

echo "export CUDA_HOME=$folder"
echo "export PATH=$folder/bin:\$PATH"
echo "export LIBRARY_PATH=$folder/lib64"
echo "export CUDA_COMPUTE_CAP=80 CUDARC_CUDA_VERSION=13000"
# what kernels.sh makes, for the feature `cubins`
echo "export RESNET_KERNELS=$folder/kernels.fatbin"
if [ "${2:-}" = real ]; then
    echo "export NVCC_REAL=$(echo "$folder"/venv/lib/python3*/site-packages/nvidia/cu13/bin/nvcc)"
fi
