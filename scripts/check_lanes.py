"""Looks for code in the per-CPU builds of the hot loops that the linker could share between CPU levels.

An inline function with external linkage that is compiled with -march=x86-64-v4 may be the copy that the linker keeps
for the whole library; a machine without those instructions then dies in it. Such functions are weak symbols: there must
be none.

Run: python scripts/check_lanes.py BUILD_DIR
"""

import subprocess
import sys
from pathlib import Path

WEAK_KINDS = "WVu"  # weak function, weak object, unique global
HARMLESS = ("DW.ref.",)  # a pointer to the exception personality, data


def weak_symbols(obj: Path) -> list[str]:
    listing = subprocess.run(["nm", "--demangle", "--defined-only", obj], capture_output=True, text=True, check=True)
    symbols = (line.split(maxsplit=2)[1:] for line in listing.stdout.splitlines())
    return [name for kind, name in symbols if kind in WEAK_KINDS and not name.startswith(HARMLESS)]


def main() -> int:
    build = Path(sys.argv[1])
    leaks = [
        f"{obj.relative_to(build)}: {name}: give it internal linkage (static, an unnamed namespace) or avoid it"
        for level in ("v3", "v4")
        for obj in sorted(build.glob(f"CMakeFiles/*_lanes_{level}.dir/**/*.o"))
        for name in weak_symbols(obj)
    ]
    print(*leaks, sep="\n", end="\n" if leaks else "")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
