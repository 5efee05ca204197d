#!/usr/bin/env bash
# run.sh FOLDER BINARY [ARGUMENT...]: runs parity.py in a Python environment with torch,
# torchvision, timm and transformers, which is installed from PyPI into FOLDER (3 GB).
# PARITY_PYTHON is the Python of an environment that has them. Prints "skipped" if
# they cannot be installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?folder}
binary=${2:?binary}
shift 2
python=${PARITY_PYTHON:-$folder/bin/python}
if [ -z "${PARITY_PYTHON:-}" ] && [ ! -e "$folder/complete" ]; then
    rm -rf "$folder"
    python3 -m venv "$folder"
    if ! "$python" -m pip install --quiet --disable-pip-version-check --retries 2 --timeout 60 \
        torch torchvision timm transformers safetensors; then
        echo 'skipped: torch, torchvision, timm and transformers cannot be installed from PyPI' >&2
        exit 0
    fi
    touch "$folder/complete"
fi
exec "$python" "$here/parity.py" "$binary" "$@"
