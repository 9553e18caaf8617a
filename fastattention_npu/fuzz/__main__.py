"""scripts/fuzz: random legal and illegal problems, a summary, and a minimal shape file for each failure.

Exit status: 0 nothing was found, 1 something was, 2 the arguments cannot be used.
"""

import argparse
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml

from .faults import illegal_case
from .judge import REFUSED_TILING, Verdict
from .pool import Pool
from .problems import Case, legal_case
from .shrink import shrink


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__, allow_abbrev=False)
    parser.add_argument("--count", type=int, default=200, help="legal problems, and half as many illegal ones")
    parser.add_argument("--seed", type=int, default=0, help="of the problems (default 0)")
    parser.add_argument("--first", type=int, default=0, help="number of the first problem (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes (default: all CPUs)")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a problem may take (default 60)")
    parser.add_argument("--out", type=Path, default=Path("fuzz_failures"), help="folder of the minimal shape files")
    parser.add_argument("--shrink", type=int, default=10, help="failures that are shrunk (default 10)")
    parser.add_argument("--kernels", default="", metavar="LIB.so", help="judge the kernels of this library instead")
    options = parser.parse_args(argv)
    if min(options.count, options.jobs) < 1 or options.limit <= 0:
        parser.error("count, jobs and limit must be at least 1")
    numbers = range(options.first, options.first + options.count)
    cases = [legal_case(options.seed, i) for i in numbers]
    cases += [illegal_case(options.seed, i) for i in numbers[::2]]
    cases = [case | {"kernels": options.kernels} for case in cases]
    start_s = time.monotonic()
    with Pool(options.jobs, options.limit) as pool:
        findings = []
        refused = 0
        for done, (case, verdict) in enumerate(pool.map(cases), 1):
            if verdict["how"] != "ok":
                findings.append((case, verdict))
                print(f"{verdict['how']}: {case}\n    {verdict['text']}", flush=True)
            refused += verdict == REFUSED_TILING
            if done % 100 == 0:
                print(f"{done} of {len(cases)} problems, {time.monotonic() - start_s:.0f} s", flush=True)
        for i, (case, verdict) in enumerate(findings[: options.shrink]):
            write_failure(options.out, i, shrink(case, verdict, pool.judge), verdict)
    kinds = Counter((case["kind"], case["backend"]) for case in cases)
    counts = ", ".join(f"{n} {kind} on {backend}" for (kind, backend), n in sorted(kinds.items()))
    took = f"{time.monotonic() - start_s:.0f} s"
    what = f"{len(cases)} problems ({counts}; {refused} tilings refused), seed {options.seed}"
    print(f"{what}: {len(findings)} failures, {took}")
    return 1 if findings else 0


def write_failure(folder: Path, number: int, case: Case, verdict: Verdict) -> Path:
    """The minimal shape file, headed by the command that runs it, and its tiling file beside it where it needs one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"failure_{number}.yaml"
    fault = f", fault {case['fault']}" if "fault" in case else ""
    words = ["fastattn run", path.name, "--backend", case["backend"]]
    words += ["--soc", case["soc"]] if case.get("soc") else []
    tiling = path.with_suffix(".tiling.yaml")
    if case.get("tiling"):
        tiling.write_text(yaml.safe_dump(case["tiling"], sort_keys=False))
        words += ["--tiling", tiling.name]
    words += ["--seed", str(case["seed"])]
    path.write_text(f"# {verdict['how']}{fault}: {' '.join(words)}\n" + yaml.safe_dump(case["shape"], sort_keys=False))
    print(f"minimal: {path}\n{path.read_text()}", flush=True)
    if case.get("tiling"):
        print(f"with {tiling}\n{tiling.read_text()}", flush=True)
    return path


if __name__ == "__main__":
    raise SystemExit(main())
