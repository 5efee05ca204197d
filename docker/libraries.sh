#!/bin/sh
# Copies the shared libraries that a binary needs, and the loader, into the root of an
# image. The binary may be for another processor, where ldd cannot run it.
#   docker/libraries.sh BINARY ROOT TRIPLE
# TRIPLE is the prefix of gcc and readelf: aarch64-linux-gnu.
set -eu
binary=$1 root=$2 triple=$3

needed() { "$triple-readelf" --dynamic --wide "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
# gcc prints a name that it does not find as it is.
library() {
    path=$("$triple-gcc" -print-file-name="$1")
    [ -e "$path" ] || { echo "$1 is not among the libraries of $triple-gcc" >&2; exit 1; }
    echo "$path"
}

# The kernel looks for the loader at the path in the binary.
loader=$("$triple-readelf" --program-headers --wide "$binary" | sed -n 's/.*program interpreter: \(.*\)\]/\1/p')
[ -n "$loader" ] || { echo "$binary needs no loader" >&2; exit 1; }
mkdir -p "$root/lib" "$root${loader%/*}"
path=$(library "${loader##*/}")
cp --dereference "$path" "$root$loader"

# The loader searches /lib. Libraries need libraries. The lists are unquoted on purpose.
# shellcheck disable=SC2046
set -- $(needed "$binary")
while [ $# -gt 0 ]; do
    name=$1
    shift
    if [ "$name" != "${loader##*/}" ] && [ ! -e "$root/lib/$name" ]; then
        path=$(library "$name")
        cp --dereference "$path" "$root/lib/$name"
        # shellcheck disable=SC2046
        set -- "$@" $(needed "$path")
    fi
done
