#!/usr/bin/env bash
# kernels.sh FOLDER [update]: compiles model/kernels with NVIDIA's compiler, for
# every compute capability from 7.5 to 12.0, and writes FOLDER/registers.txt:
# what each kernel uses. Fails where one spills registers to memory, and where
# model/kernels/kernels.ptx is not what the sources give (`update` writes it).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?folder}
exports=$("$here/install.sh" "$folder" real)
eval "$exports"
cd "$here/../model/kernels"

"$NVCC_REAL" --ptx -O3 -std=c++17 -arch=compute_75 -o "$CUDA_HOME/kernels.ptx" kernels.cu
if [ "${2:-}" = update ]; then cp "$CUDA_HOME/kernels.ptx" kernels.ptx; fi
if ! diff -q "$CUDA_HOME/kernels.ptx" kernels.ptx; then
    echo 'kernels.ptx is not made from these sources: make cuda-ptx UPDATE=update' >&2
    exit 1
fi

report=$CUDA_HOME/registers.txt
: >"$report"
for capability in 75 80 86 89 90 100 120; do
    "$NVCC_REAL" -cubin -O3 -std=c++17 "-arch=sm_$capability" -Xptxas -v \
        -o "$CUDA_HOME/kernels_$capability.cubin" kernels.cu 2>&1 |
        sed -n "s/^.*Compiling entry function '\([a-z0-9_]*\)'.*/\1/p
                s/^ *\([0-9]* bytes stack frame.*\)/    \1/p
                s/^.*Used \([0-9]* registers.*\)/    \1/p" |
        sed "s/^\([a-z]\)/sm_$capability \1/" >>"$report"
done
echo "$(grep -c '^sm_' "$report") kernels for 7 compute capabilities: $report"
if grep -E '[1-9][0-9]* bytes (stack frame|spill)' "$report"; then
    echo 'a kernel spills registers: see the report' >&2
    exit 1
fi
