#!/usr/bin/env bash
# kernels.sh FOLDER [update]: compiles model/kernels with NVIDIA's compiler for all
# CAPABILITIES (compute capabilities times ten) into FOLDER/kernels.fatbin, which the
# feature `cubins` embeds, and writes the resource usage of each kernel to
# FOLDER/registers.txt. Fails if a kernel spills registers, or if
# model/kernels/kernels.ptx or (with all capabilities) registers.txt is out of date;
# `update` writes these two files.
# Prints "skipped" and generates nothing if the compiler cannot be downloaded.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?folder}
rm -f "$folder/kernels.fatbin" "$folder/registers.txt"
exports=$("$here/install.sh" "$folder" real) || {
    status=$?
    # without access to PyPI, skip this check; an update must fail
    if [ "$status" != 75 ] || [ $# -gt 1 ]; then exit "$status"; fi
    echo 'skipped: the kernels were not compiled, because NVIDIA'\''s compiler cannot be downloaded from PyPI' >&2
    exit 0
}
eval "$exports"
cd "$here/../model/kernels"

supported=$("$NVCC_REAL" --list-gpu-code | sed -n 's/^sm_\([0-9]*\)$/\1/p' | sort -n | xargs)
capabilities=${CAPABILITIES-75 80 86 89 90 100 120}
for capability in $capabilities; do
    if [[ " $supported " != *" $capability "* ]]; then
        echo "CAPABILITIES: invalid compute capability \"$capability\"; the compiler supports $supported" >&2
        exit 1
    fi
done

"$NVCC_REAL" --ptx -O3 -std=c++17 -arch=compute_75 -o "$CUDA_HOME/kernels.ptx" kernels.cu
if [ "${2:-}" = update ]; then cp "$CUDA_HOME/kernels.ptx" kernels.ptx; fi
if ! diff -q "$CUDA_HOME/kernels.ptx" kernels.ptx; then
    echo 'kernels.ptx is out of date: run make cuda-ptx UPDATE=update' >&2
    exit 1
fi

report=$CUDA_HOME/registers.txt
images=("--image3=kind=ptx,sm=75,file=kernels.ptx")
: >"$report"
for capability in $capabilities; do
    cubin=$CUDA_HOME/kernels_$capability.cubin
    "$NVCC_REAL" -cubin -O3 -std=c++17 "-arch=sm_$capability" -Xptxas -v -o "$cubin" kernels.cu \
        2>"$CUDA_HOME/ptxas.txt" || { cat "$CUDA_HOME/ptxas.txt" >&2; exit 1; }
    # one line per kernel, sorted by name
    awk -v name="sm_$capability" '
        /Compiling entry function/ { split($0, part, "\047"); kernel = name " " part[2] }
        /bytes stack frame/ { sub(/^ */, ""); frame = frame ", " $0 }
        /Used [0-9]+ registers/ { sub(/^.*Used /, ""); print kernel frame ", " $0; frame = "" }
    ' "$CUDA_HOME/ptxas.txt" | LC_ALL=C sort >>"$report"
    images+=("--image3=kind=elf,sm=$capability,file=$cubin")
done
echo "$(grep -c '^sm_' "$report" || true) kernels for $(wc -w <<<"$capabilities") compute capabilities: $report"
if grep -E '[1-9][0-9]* bytes (stack frame|spill)' "$report"; then
    echo 'a kernel spills registers: see the lines above' >&2
    exit 1
fi
if [ -z "${CAPABILITIES+set}" ]; then
    if [ "${2:-}" = update ]; then cp "$report" registers.txt; fi
    if ! diff -q "$report" registers.txt; then
        echo 'registers.txt is out of date: run make cuda-ptx UPDATE=update' >&2
        exit 1
    fi
fi
# uncompressed, because the fake driver of the tests reads it
"$(dirname "$NVCC_REAL")/fatbinary" --create="$CUDA_HOME/kernels.fatbin" --64 --compress=false "${images[@]}"
