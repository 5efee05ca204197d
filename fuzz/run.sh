#!/usr/bin/env bash
# Runs fuzz targets: fuzz/run.sh SECONDS [TARGET...]. Without names, all of them, each
# for that many seconds. Prints `skipped` without cargo-fuzz or a nightly toolchain.
# $FUZZ_CORPUS is the folder of what the fuzzer finds (default: target/fuzz-corpus).
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1
shift
if ! cargo +nightly fuzz --version > /dev/null 2>&1; then
    echo 'skipped: fuzzing needs cargo-fuzz (cargo install cargo-fuzz) and a nightly toolchain'
    exit 0
fi

corpus=${FUZZ_CORPUS:-target/fuzz-corpus}
host=$(rustc -vV | sed -n 's/^host: //p')

# The seeds of an image format are the images of the tests with these extensions.
extensions() {
    case $1 in
        image) echo '*' ;;
        jpeg | jpeg_pixels) echo jpg ;;
        tiff) echo tif tiff ;;
        webp | png | gif | bmp | heic | jxl | qoi | avif) echo "$1" ;;
        jp2) echo jp2 j2k ;;
        ico) echo ico cur ;;
        pnm) echo pbm pgm ppm pam ;;
    esac
}

seeds() {
    local name=$1 extension list
    mkdir -p "$corpus/$name"
    [ ! -d "fuzz/seeds/$name" ] || cp -n fuzz/seeds/"$name"/* "$corpus/$name/"
    case $name in
        pth) cp -n weights/tests/pth/*.p* weights/tests/pth/*.bin "$corpus/$name/" ;;
    esac
    read -ra list < <(extensions "$name") || true
    for extension in "${list[@]}"; do
        find preprocess/tests/images preprocess/tests/formats preprocess/tests/jpeg preprocess/tests/webp \
            -name "*.$extension" -size -64k ! -name '*.py' ! -name '*.md' \
            ! -name '*.safetensors' ! -name '*.txt' -exec cp -n {} "$corpus/$name/" \;
    done
}

fuzz() {
    local folder=$1 name=$2 dictionary=()
    seeds "$name"
    [ ! -e "fuzz/dictionaries/$name.dict" ] || dictionary=("-dict=fuzz/dictionaries/$name.dict")
    mkdir -p "target/fuzz-artifacts/$name"
    echo "$name:"
    "target/fuzz/$folder/$host/release/$name" "$corpus/$name" "${dictionary[@]}" \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=65536 \
        -artifact_prefix="target/fuzz-artifacts/$name/" -print_final_stats=1 -verbosity=0
}

names() { sed -n 's/^name = "\([a-z0-9_]*\)"$/\1/p' "$1/Cargo.toml"; }

for folder in fuzz fuzz/server; do
    wanted=()
    for name in $(names "$folder"); do
        [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
        wanted+=("$name")
    done
    [ ${#wanted[@]} -gt 0 ] || continue
    if [ $# = 1 ]; then
        cargo +nightly fuzz build --fuzz-dir "$folder" --target-dir "target/fuzz/$folder" "$1"
    else
        cargo +nightly fuzz build --fuzz-dir "$folder" --target-dir "target/fuzz/$folder"
    fi
    for name in "${wanted[@]}"; do
        fuzz "$folder" "$name"
    done
done
