"""The kernels on CANN's own simulators: scripts/cann_sim [--runner cpu|sim|both] [CASE.yaml ...]

Needs the CANN toolkit, no card and no driver. For every case (a shape file; default scripts/cann/cases): builds the
kernels for the runner, runs one launch, compares O and lse with float64, and for the cycle simulator prints the busy
cycles of every pipe beside the embedded simulator's, their ratio, and the pipe whose ratio is furthest from 1. Both
columns are simulated. Exit status 1 on a wrong result, on a pipe that works in one simulator only, and, with --within,
on cycles further apart than that factor; 2 where it cannot run.
"""

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cases
import collect
from toolkit import ROOT, RUNNERS, Toolkit, UnusableError


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/cann_sim", description=__doc__.split("\n")[0])
    parser.add_argument("--runner", choices=(*RUNNERS, "both"), default="both", help="CANN's CPU twin, its simulator")
    parser.add_argument("--within", type=float, help="fail where cycles differ by more than this factor")
    parser.add_argument("--work", type=Path, default=ROOT / "build/cann_sim", help="folder for builds and cases")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file")
    parser.add_argument("cases", nargs="*", type=Path, metavar="CASE.yaml")
    return parser.parse_args(argv)


def run(command: list[str], log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(f"$ {' '.join(command)}\n")
        file.flush()
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise UnusableError(f"failed ({done.returncode}; whole output in {log}): {' '.join(command)}\n{tail}")


def time_reasons(cann: dict[str, int], embedded: dict[str, int], within: float | None) -> list[str]:
    """Pipes that disagree. The scalar unit is not judged: compilers differ in what they leave to it."""
    reasons = []
    for pipe in sorted(set(cann) | set(embedded)):
        theirs, ours = cann.get(pipe, 0), embedded.get(pipe, 0)
        if pipe.endswith(".scalar") or theirs == ours == 0:
            continue
        if theirs == 0 or ours == 0:
            reasons.append(f"{pipe}: {theirs} cycles in CANN's simulator, {ours} in the embedded one")
        elif within is not None and max(theirs, ours) > within * min(theirs, ours):
            reasons.append(f"{pipe}: {theirs} cycles against {ours}, a factor above {within:g}")
    return reasons


def ratios(cann: dict[str, int], embedded: dict[str, int]) -> dict[str, float]:
    """CANN's cycles over the embedded simulator's, of pipes that work in both; the furthest from 1 comes first."""
    both = {
        pipe: cann[pipe] / embedded[pipe] for pipe in cann.keys() & embedded.keys() if cann[pipe] and embedded[pipe]
    }
    return dict(sorted(both.items(), key=lambda row: (-abs(math.log(row[1])), row[0])))


def table(cann: dict[str, int], embedded: dict[str, int]) -> str:
    lines = [f"  {'pipe':<12} {'CANN simulator':>16} {'embedded':>12} {'ratio':>7}   busy cycles, both simulated"]
    for pipe in sorted(set(cann) | set(embedded)):
        theirs, ours = cann.get(pipe, 0), embedded.get(pipe, 0)
        text = f"{theirs / ours:7.2f}" if ours else "      -"
        lines.append(f"  {pipe:<12} {theirs:>16,} {ours:>12,} {text}")
    for pipe, ratio in list(ratios(cann, embedded).items())[:1]:
        lines.append(f"  furthest apart: {pipe}, a factor {max(ratio, 1 / ratio):.2f}")
    return "\n".join(lines)


def run_case(case: cases.Case, runner: str, toolkit: Toolkit, work: Path, within: float | None) -> dict[str, object]:
    folder = work / runner / case.name
    cases.write(case, folder)
    for name in case.call.written:
        (folder / f"{name}.bin").unlink(missing_ok=True)  # of an earlier run
    run(toolkit.execute(runner, work / runner / "build", folder), folder / "log.txt")
    reasons = cases.judge(case, folder)
    row: dict[str, object] = {"case": case.name, "runner": RUNNERS[runner], "reasons": reasons}
    if runner == "sim":
        cann, embedded = collect.busiest(collect.profile_cycles(folder / "profile")), cases.embedded_cycles(case)
        reasons += time_reasons(cann, embedded, within)
        row |= {"cann_cycles": cann, "embedded_cycles": embedded, "ratios": ratios(cann, embedded)}
        print(table(cann, embedded))
    print(f"{case.name:<24} {RUNNERS[runner]:<16} {'ok' if not reasons else 'WRONG'}")
    for reason in reasons:
        print(f"  {reason}")
    return row


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    runners = list(RUNNERS) if options.runner == "both" else [options.runner]
    rows = []
    try:
        toolkit = Toolkit.find()
        chosen = [cases.load(path, toolkit.soc) for path in options.cases or sorted(cases.CASES.glob("*.yaml"))]
        for runner in runners:
            build = options.work / runner / "build"
            run(toolkit.configure(runner, build), options.work / runner / "build.log")
            run(toolkit.compile(build), options.work / runner / "build.log")
            rows += [run_case(case, runner, toolkit, options.work, options.within) for case in chosen]
    except (UnusableError, collect.BadProfileError, ValueError) as error:
        print(f"cann_sim: {error}", file=sys.stderr)
        return 2
    if options.json:
        options.json.write_text(json.dumps({"soc": toolkit.soc, "results": rows}, indent=1))
    return 1 if any(row["reasons"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
