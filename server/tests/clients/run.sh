#!/usr/bin/env bash
# `make clients`: runs the clients that other servers' users have, from PyPI, against
# the release binary. Each test_*.py is one protocol and one process. Prints `skipped`
# where PyPI cannot be reached. RESNET is the binary, CLIENTS the folder of the
# virtual environment and of npm's packages; arguments choose the files: `run.sh
# test_oip_http.py`.
set -euo pipefail
cd "$(dirname "$0")/../../.."
here=$PWD/server/tests/clients
work=${CLIENTS:-$PWD/target/clients}
binary=${RESNET:-$PWD/target/release/resnet}

skip() { echo "skipped: clients: $*"; exit 0; }
command -v python3 > /dev/null || skip "python3 is not installed"
[ -x "$binary" ] || { echo "there is no $binary; run cargo build --release"; exit 1; }
mkdir -p "$work"
wanted=$(cat "$here"/requirements*.txt)
if [ "$wanted" != "$(cat "$work/installed.txt" 2> /dev/null)" ]; then
    python3 -m venv --clear "$work/venv" || skip "python3 has no venv module"
    # uv needs a tenth of pip's CPU time for so many packages.
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9 || skip "PyPI cannot be reached"
    install() { "$work/venv/bin/uv" pip install --quiet --python "$work/venv/bin/python" "$@"; }
    install --requirement "$here/requirements.txt" && install --no-deps --requirement "$here/requirements-alone.txt" \
        || skip "PyPI cannot be reached"
    echo "$wanted" > "$work/installed.txt"
fi
# Messages of clients that are not on PyPI, and those that tensorflow-serving-api imports
# from TensorFlow, which is large and not installed.
mkdir -p "$work/generated"
(cd "$here/protos" && find . -name '*.proto' -print0 | xargs -0 "$work/venv/bin/python" -m grpc_tools.protoc \
    --proto_path . --python_out "$work/generated" --grpc_python_out "$work/generated")
export PYTHONPATH=$work/generated

log=$work/server.log
: > "$log"
# As Vertex AI sets them.
export AIP_HEALTH_ROUTE=/vertex/health AIP_PREDICT_ROUTE=/vertex/predict
"$binary" serve --port 0 --admin 127.0.0.1:0 --model resnet50_thin --model other=resnet50_thin \
    --log-format json > "$log" 2>&1 &
server=$!
trap 'kill "$server" 2> /dev/null || true' EXIT
# The log has both addresses, and says when the models are loaded.
address() { grep --max-count 1 "\"$1" "$log" | sed 's/.*"address":"\([^"]*\)".*/\1/'; }
for _ in $(seq 600); do
    if grep --quiet '"ready; try' "$log"; then break; fi
    kill -0 "$server" 2> /dev/null || { cat "$log"; exit 1; }
    sleep 0.1
done
RESNET_ADDRESS=$(address 'listening; the models')
RESNET_ADMIN_ADDRESS=$(address 'listening for administration')
export RESNET_ADDRESS RESNET_ADMIN_ADDRESS PYTHONDONTWRITEBYTECODE=1
# For tests with a server of their own, and for npm's packages.
export RESNET=$binary CLIENTS=$work

passed=0 failed=0
[ $# -gt 0 ] || set -- $(cd "$here" && ls test_*.py)
for file in "$@"; do
    # One process each: two clients may define the same messages of gRPC.
    "$work/venv/bin/python" -m pytest --quiet --no-header -p no:cacheprovider --junit-xml "$work/result.xml" \
        --rootdir "$here" "$here/$file" || true
    read -r ok wrong < <("$work/venv/bin/python" - "$work/result.xml" <<'PYTHON'
import sys
import xml.etree.ElementTree as xml

suite = xml.parse(sys.argv[1]).getroot().find("testsuite")
count = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
wrong = count["failures"] + count["errors"]
print(count["tests"] - wrong - count["skipped"], wrong)
PYTHON
    ) || { ok=0 wrong=1; }
    passed=$((passed + ok)) failed=$((failed + wrong))
    rm -f "$work/result.xml"
done
kill -0 "$server" 2> /dev/null || { echo "the server has ended:"; tail -n 20 "$log"; failed=$((failed + 1)); }
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
