#!/usr/bin/env bash
# `make hostile`: clients and files that try to take the server's memory, its time or its
# connections, against the release binary within a memory limit (RLIMIT_AS). RESNET is
# the binary; arguments choose the tests: `run.sh test_images.Images`. The files of
# ../shared are added where they are. Prints a line for each test.
set -euo pipefail
cd "$(dirname "$0")"
RESNET=$(realpath "${RESNET:-../../../target/release/resnet}")
export RESNET PYTHONDONTWRITEBYTECODE=1

command -v python3 > /dev/null || { echo "skipped: hostile: python3 is not installed"; exit 0; }
[ -r /proc/self/status ] || { echo "skipped: hostile: there is no /proc"; exit 0; }
[ -x "$RESNET" ] || { echo "there is no $RESNET; run cargo build --release"; exit 1; }
[ $# -gt 0 ] || set -- test_images test_memory test_clients
python3 -W ignore::ResourceWarning -m unittest "$@"
