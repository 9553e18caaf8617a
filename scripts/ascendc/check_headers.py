"""Checks the kernels against genuine Ascend C headers: see docs/cross_check.md."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from crossrun import CASES, build, differences
from toolchain import ROOT, Missing, Toolchain, find_headers
from typecheck import LEFT_OUT, check_kernel, kernels, literals


def type_check(tools: Toolchain, sources: list[Path]) -> list[str]:
    complaints = literals([*sorted((ROOT / "op_kernel").rglob("*.h")), *sources])
    for source in sources:
        start = time.monotonic()
        found = check_kernel(tools, source)
        print(f"type check | {source.name} | {len(found)} complaints | {time.monotonic() - start:.1f} s")
        complaints += found
    return complaints


def run_both(tools: Toolchain, sources: list[Path]) -> list[str]:
    libraries, complaints = build(tools, sources)
    if complaints:
        return complaints
    for case in CASES:
        found, count = differences(case, libraries)
        print(f"same machine | {case} | {count} instructions | {'equal' if not found else 'DIFFERENT'}")
        complaints += found
    return complaints


def main() -> int:
    parser = argparse.ArgumentParser(prog="check_headers", description=__doc__)
    parser.add_argument("--ascendc", metavar="ROOT", help="folder with include/ and impl/ (else ASCENDC_HEADERS)")
    parser.add_argument("--only", choices=["types", "run"], help="one half of the check")
    args = parser.parse_args()
    sources = kernels()
    complaints = [] if sources else ["op_kernel holds no kernel: nothing was checked"]
    try:
        with tempfile.TemporaryDirectory(prefix="check_headers_") as folder:
            tools = Toolchain(find_headers(args.ascendc), Path(folder))
            if args.only != "run":
                complaints += type_check(tools, sources)
            if args.only != "types" and not complaints:
                complaints += run_both(tools, sources)
    except Missing as missing:
        print(f"check_headers: {missing}", file=sys.stderr)
        return 2
    print(*(f"left out | {name} | {reason}" for name, reason in LEFT_OUT.items()), sep="\n")
    print(*complaints, sep="\n", end="\n" if complaints else "")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
