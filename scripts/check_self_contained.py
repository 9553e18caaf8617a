"""Compiles every header alone, so that none depends on what its includer included before it.

Exempt headers stand in EXEMPT, each with its reason.
"""

import os
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nanobind

ROOT = Path(__file__).resolve().parent.parent
SIM = "fastattention_npu/sim"
STANDARDS = {"op_host": "c++17", "op_kernel": "c++17", "fastattention_npu": "c++20"}  # as in CMakeLists.txt
CPU_PARTS = ["decode", "decode_task", "kernels", "math", "panel", "panel_task", "simd_highway", "simd_portable"]
# path: why it cannot compile alone
EXEMPT: dict[str, str] = {
    f"fastattention_npu/cpu/{part}-inl.h": "a part of one namespace that is compiled once for every instruction set"
    for part in [*CPU_PARTS, "tiles"]
}


def compile_alone(header: str, root: Path = ROOT) -> str:
    """The compiler's complaint about one header (a path below root), empty if there is none."""
    compiler = os.environ.get("CXX", "g++")
    flags = [f"-std={STANDARDS[header.split('/')[0]]}", "-Wall", "-Wextra", "-Werror", f"-I{root}"]
    # The Ascend C layer must serve kernels, so it is held to their standard.
    if header.startswith(("op_kernel/", f"{SIM}/ascendc/")):
        flags += ["-std=c++17", f"-I{root / SIM / 'ascendc'}"]
    if header.startswith("fastattention_npu/native/"):
        flags += [f"-isystem{nanobind.include_dir()}", f"-isystem{sysconfig.get_path('include')}"]
    source = f'#include "{header}"\n#include "{header}"\n'  # twice: the include guard is there
    command = [compiler, *flags, "-fsyntax-only", "-x", "c++", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, cwd=root, check=False)
    return "" if done.returncode == 0 else f"{header}:\n{done.stderr}"


def main() -> int:
    headers = [str(p.relative_to(ROOT)) for d in STANDARDS for p in sorted((ROOT / d).rglob("*.h"))]
    stale = [path for path in EXEMPT if path not in headers]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = [c for c in pool.map(compile_alone, [h for h in headers if h not in EXEMPT]) if c]
    complaints += [f"{path}: exempt, but there is no such header" for path in stale]
    print(*complaints, sep="\n", end="\n" if complaints else "")
    return 1 if complaints or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
