#!/usr/bin/env bash
# `make page`: tests the HTML pages in Chromium. It starts the server with two models,
# and needs node, npm (playwright-core and axe-core, 14 MB once) and Debian's `chromium`.
# RESNET is the binary. With PAGE_URL, a server that runs already is tested.
set -euo pipefail
cd "$(dirname "$0")/../../.."
here=$PWD/server/tests/page
modules=${PAGE_MODULES:-$PWD/target/page}
script=${1:-page.mjs}

skip() { echo "skipped: page: $*"; exit 0; }
for tool in node npm; do command -v "$tool" > /dev/null || skip "$tool is not installed"; done
CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
[ -n "$CHROMIUM" ] || skip "chromium is not installed"
mkdir -p "$modules"
cp "$here/package.json" "$modules/"
[ -d "$modules/node_modules/axe-core" ] || npm install --prefix "$modules" --no-audit --no-fund --silent \
    || skip "npm cannot install playwright-core and axe-core"

if [ -z "${PAGE_URL:-}" ]; then
    port=${PAGE_PORT:-8399}
    log=$modules/server.log
    "${RESNET:-target/release/resnet}" --port "$port" --model resnet50_thin --model other=resnet50_thin > "$log" 2>&1 &
    server=$!
    trap 'kill "$server" 2> /dev/null || true' EXIT
    PAGE_URL=http://127.0.0.1:$port
    for _ in $(seq 60); do
        curl --silent --fail --output /dev/null "$PAGE_URL/health/ready" && break
        kill -0 "$server" 2> /dev/null || { cat "$log"; exit 1; }
        sleep 1
    done
fi
export PAGE_URL CHROMIUM PAGE_MODULES=$modules
node --test-reporter=spec "$here/$script"
