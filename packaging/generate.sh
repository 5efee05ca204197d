#!/usr/bin/env bash
# Writes the files that a package has besides the binary: the manual pages and the
# completions. Both are printed by the binary itself, so they always fit it.
#   packaging/generate.sh [BINARY [FOLDER]]
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${1:-target/release/resnet}
folder=${2:-target/package}

rm -rf "$folder/man" "$folder/completions"
mkdir -p "$folder/completions"
"$binary" man --output "$folder/man"
# Each under the name that its shell looks for.
"$binary" completions bash > "$folder/completions/resnet"
"$binary" completions zsh > "$folder/completions/_resnet"
"$binary" completions fish > "$folder/completions/resnet.fish"
"$binary" completions powershell > "$folder/completions/_resnet.ps1"
"$binary" completions elvish > "$folder/completions/resnet.elv"
