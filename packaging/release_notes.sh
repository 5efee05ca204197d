#!/usr/bin/env bash
# Prints the section of CHANGELOG.md about a release. Fails unless the tag is the version
# in Cargo.toml and the section has a date: the release workflow starts with this check.
#   packaging/release_notes.sh v0.2.0
set -euo pipefail
cd "$(dirname "$0")/.."
tag=${1:?the tag, for example v0.2.0}
version=${tag#v}

fail() { echo "$tag cannot be released: $*" >&2; exit 1; }
[ "$tag" != "$version" ] || fail "a tag starts with v"
packaged=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
[ "$version" = "$packaged" ] || fail "the version in Cargo.toml is $packaged"
grep -qE "^## \[${version//./\\.}\] - [0-9]{4}-[0-9]{2}-[0-9]{2}$" CHANGELOG.md ||
    fail "CHANGELOG.md has no line '## [$version] - YYYY-MM-DD'"
notes=$(awk -v heading="## [$version]" '
    /^## / { inside = index($0, heading) == 1; next }
    inside' CHANGELOG.md)
[ -n "${notes//[[:space:]]/}" ] || fail "its section in CHANGELOG.md is empty"
printf '%s\n' "$notes"
