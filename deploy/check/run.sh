#!/usr/bin/env bash
# `make deploy`: checks the chart and the manifests of deploy/ without a cluster. Prints
# `skipped` where PyPI cannot be reached. VENV is the folder of the virtual environment
# (250 MB from PyPI once), RESNET the binary whose flags are compared with the chart's.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/deploy/check
work=${VENV:-$PWD/target/deploy}

skip() { echo "skipped: deploy: $*"; exit 0; }
command -v python3 > /dev/null || skip "python3 is not installed"
mkdir -p "$work"
if ! cmp --silent "$here/requirements.txt" "$work/installed.txt"; then
    python3 -m venv --clear "$work/venv" || skip "python3 has no venv module"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt" \
        || skip "PyPI cannot be reached"
    cp "$here/requirements.txt" "$work/installed.txt"
fi
export RESNET=${RESNET:-$PWD/target/release/resnet} PYTHONDONTWRITEBYTECODE=1
cd "$here"
"$work/venv/bin/python" -m pytest --quiet --no-header -p no:cacheprovider "$@"
