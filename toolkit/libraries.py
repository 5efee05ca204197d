#!/usr/bin/env python3
"""libraries.py FOLDER CUDARC_SOURCE: creates stub libraries libcuda.a, libcudnn.a, ...

Each function is a jump through a pointer. When the program starts, the pointers are
set to the functions of the shared libraries that are installed. A function of a
library that is not installed returns an error code of that library. So the same
binary starts with a GPU, with an outdated driver and without a driver, and reports
what is missing.
"""

import re
import subprocess
import sys
from pathlib import Path

# stem, shared library, return value of its functions if it is not installed
LIBRARIES = [
    ("cudnn", "libcudnn.so.9", 1001),  # CUDNN_STATUS_NOT_INITIALIZED
    ("cublasLt", "libcublasLt.so.13", 1),  # CUBLAS_STATUS_NOT_INITIALIZED
    ("cublas", "libcublas.so.13", 1),
    ("curand", "libcurand.so.10", 101),  # CURAND_STATUS_NOT_INITIALIZED
    ("nvrtc", "libnvrtc.so.13", 11),  # NVRTC_ERROR_INTERNAL_ERROR
    ("cuda", "libcuda.so.1", 303),  # CUDA_ERROR_SHARED_OBJECT_INIT_FAILED
]
FOLDERS = ["cudnn", "cublaslt", "cublas", "curand", "nvrtc", "driver"]


def functions(source: Path) -> list[str]:
    """All functions that cudarc declares, for any CUDA version."""
    found = set()
    for folder in FOLDERS:
        text = (source / folder / "sys" / "mod.rs").read_text()
        found |= set(re.findall(r"pub unsafe fn ((?:cu[A-Z]|cublas|cudnn|curand|nvrtc)\w+)\s*\(", text))
    return sorted(found)


def library_of(function: str) -> str:
    for stem, _, _ in LIBRARIES[:-1]:
        if function.startswith(stem):
            return stem
    return "cuda"


def source_of(stem: str, shared: str, missing: int, names: list[str]) -> str:
    lines = [
        "#include <dlfcn.h>",
        f"static long missing_{stem}(void) {{ return {missing}; }}",
    ]
    for name in names:
        lines.append(f'__attribute__((visibility("hidden"))) void *open_{name} = (void *)missing_{stem};')
        lines.append(
            f'__asm__(".text\\n.globl {name}\\n.type {name},@function\\n{name}: jmp *open_{name}(%rip)\\n");'
        )
    lines.append("static const struct { const char *name; void **pointer; } all[] = {")
    lines += [f'{{"{name}", &open_{name}}},' for name in names]
    lines.append("};")
    lines.append(
        f"""__attribute__((constructor)) static void open_{stem}(void) {{
  void *library, *found;
  if (!(library = dlopen("{shared}", RTLD_NOW | RTLD_GLOBAL))) return;
  for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++)
    if ((found = dlsym(library, all[i].name))) *all[i].pointer = found;
}}"""
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    folder, source = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    names = functions(source)
    for stem, shared, missing in LIBRARIES:
        own = [name for name in names if library_of(name) == stem]
        c = folder / f"{stem}.c"
        c.write_text(source_of(stem, shared, missing, own))
        subprocess.check_call(["cc", "-O1", "-fPIC", "-c", c, "-o", c.with_suffix(".o")])
        archive = folder / f"lib{stem}.a"
        archive.unlink(missing_ok=True)
        subprocess.check_call(["ar", "crs", archive, c.with_suffix(".o")])
        c.with_suffix(".o").unlink()
        c.unlink()
    # candle links the CUDA runtime, but its empty objects call no function of it
    subprocess.check_call(["ar", "crs", folder / "libcudart.a"])


main()
