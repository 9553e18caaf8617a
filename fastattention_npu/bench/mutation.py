"""`fastattn bench mutation`: how many faults in the kernels' synchronisation and guards the simulator and the small
shapes catch. docs/mutation.md defines the operators and what killed, equivalent and survived mean."""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BackendUnavailableError
from .kernel_build import EditError
from .kernel_cases import Fingerprint
from .mutation_cases import all_cases
from .mutation_operators import Mutant
from .mutation_pool import Outcome, Pool, RunnableCase, Task
from .mutation_schema import NO_MUTANT, Schema, build_schema

REQUIRED_SCORE = 0.98  # of the mutants that are not equivalent
WORKERS = 2
PROOFS = {
    "same instructions": "every core issues the same instructions on the same operands",
    "still ordered": "the same work; only flags and barriers differ, and those left still order every access",
    "same results": "other work or another order, all of it allowed, with the same bits as a result",
}


@dataclass(frozen=True)
class Result:
    """A mutant's fate: 'killed', 'equivalent' or 'survived', with the evidence and the case that gave it."""

    mutant: Mutant
    status: str
    how: str
    case: str = ""
    evidence: str = ""

    def as_dict(self) -> dict[str, Any]:
        m = self.mutant
        place = {"file": f"op_kernel/{m.file}", "line": m.line, "function": m.function}
        change = {"operator": m.operator, "original": m.original, "instead": m.change}
        return place | change | {"status": self.status, "how": self.how, "case": self.case, "evidence": self.evidence}


class BaselineError(RuntimeError):
    """The unchanged kernel does not pass, so that no mutant can be judged."""


class Progress:
    """A counter on standard error, rewritten in place where that is a terminal."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()

    def start(self, what: str, total: int) -> Callable[[Outcome], None]:
        count = 0
        last = time.monotonic()

        def step(outcome: Outcome) -> None:
            nonlocal count, last
            count += 1
            pause = 0.1 if self.terminal else 10.0
            if count == total or time.monotonic() - last > pause:
                last = time.monotonic()
                end = "\r" if self.terminal and count < total else "\n"
                print(f"{what}: {count}/{total}", end=end, file=sys.stderr, flush=True)

        return step


class Bench:
    """Judges mutants of a schema: first on the cases, then, where all of those pass, on the bounded set.

    A context manager, because it keeps worker processes.
    """

    def __init__(
        self, schema: Schema, progress: Progress, cases: Sequence[RunnableCase], bounded: Sequence[RunnableCase]
    ) -> None:
        self.schema = schema
        self.progress = progress
        self.cases = [*cases, *bounded]
        self.first = range(len(cases))
        self.rest = range(len(cases), len(self.cases))
        self.pool = Pool(schema, self.cases, WORKERS)

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.stop()

    def judge(self, chosen: Sequence[int], checks: bool = True, prove: bool = True) -> list[Result]:
        """The fate of each chosen mutant.

        checks: whether the simulator looks for hazards in the mutants; prove: whether those that no case catches go
        on to the bounded set.
        """
        reached = {i: outcome.reached[0] for i, outcome in self._baseline(self.first, trace=False).items()}
        tasks = [Task(n, tuple(i for i in self.first if n in reached[i]), checks) for n in chosen]
        outcomes = self.pool.run(tasks, self.progress.start("mutants", len(tasks)))
        results = {outcome.task.mutant: self._result(outcome) for outcome in outcomes}
        left = [n for n in chosen if results[n].status == "survived"]
        if left and prove:
            results |= self._prove(left, self.rest, checks)
        return [results[n] for n in chosen]

    def _baseline(self, cases: Sequence[int], trace: bool) -> dict[int, Outcome]:
        """The unchanged kernel on the cases, all of which it must pass."""
        tasks = [Task(NO_MUTANT, (i,), trace=trace) for i in cases]
        outcomes = self.pool.run(tasks, self.progress.start("unchanged kernel, cases", len(tasks)))
        for i, outcome in zip(cases, outcomes, strict=True):
            if outcome.verdict.caught:
                how, text = outcome.verdict.how, outcome.verdict.text
                raise BaselineError(f"the unchanged kernel fails on {self.cases[i]}: {how}: {text}")
        return dict(zip(cases, outcomes, strict=True))

    def _result(self, outcome: Outcome) -> Result:
        mutant = self.schema.mutants[outcome.task.mutant]
        verdict = outcome.verdict
        if not verdict.caught:
            return Result(mutant, "survived", "every case passes" if outcome.verdicts else "no case reaches it")
        case = str(self.cases[outcome.task.cases[len(outcome.verdicts) - 1]])
        return Result(mutant, "killed", verdict.how, case, verdict.text)

    def _prove(self, chosen: Sequence[int], bounded: Sequence[int], checks: bool) -> dict[int, Result]:
        """What the bounded set says about mutants that every case passes."""
        before = self._baseline(bounded, trace=True)
        tasks = [Task(n, tuple(i for i in bounded if n in before[i].reached[0]), checks, trace=True) for n in chosen]
        results = {}
        outcomes = self.pool.run(tasks, self.progress.start("survivors on the bounded set", len(tasks)))
        for n, outcome in zip(chosen, outcomes, strict=True):
            results[n] = self._result(outcome)
            if results[n].status == "survived":
                pairs = [
                    (before[i].verdict.fingerprint, verdict.fingerprint)
                    for i, verdict in zip(outcome.task.cases, outcome.verdicts, strict=True)
                ]
                proof, evidence = equivalence(results[n].mutant, pairs)
                status = "equivalent" if proof else "survived"
                results[n] = Result(results[n].mutant, status, proof or results[n].how, "", evidence)
        return results


def equivalence(mutant: Mutant, pairs: Sequence[tuple[Fingerprint | None, Fingerprint | None]]) -> tuple[str, str]:
    """The strongest proof that the runs allow (a key of PROOFS, or ''), and what it rests on.

    pairs: fingerprints without and with the mutant, of clean runs only.
    """
    runs = [(before, after) for before, after in pairs if before is not None and after is not None]
    if not runs:
        return "", "no case of the bounded set reaches it"
    scope = f"{len(runs)} shapes of the bounded set"
    if all(before.outputs == after.outputs for before, after in runs):
        if all(before.listing == after.listing for before, after in runs):
            return "same instructions", f"{PROOFS['same instructions']} ({scope})"
        if all(before.work == after.work for before, after in runs):
            return "still ordered", f"{PROOFS['still ordered']} ({scope})"
        if mutant.family != "sync":
            more = sum(after.instructions for _, after in runs) / sum(before.instructions for before, _ in runs) - 1
            return "same results", f"{PROOFS['same results']}; {100 * more:+.1f} % instructions ({scope})"
    return "", f"nothing objects, but neither the instructions nor the results are the same ({scope})"


def summary(results: Sequence[Result], seconds: float) -> dict[str, Any]:
    """The figures: counts, the score (killed of what is not equivalent), and every mutant."""
    status = Counter(result.status for result in results)
    judged = len(results) - status["equivalent"]
    operators: dict[str, dict[str, int]] = {}
    for result in results:
        row = operators.setdefault(result.mutant.operator, {"killed": 0, "survived": 0, "equivalent": 0, "total": 0})
        row[result.status] += 1
        row["total"] += 1
    return {
        "killed": status["killed"],
        "survived": status["survived"],
        "equivalent": status["equivalent"],
        "total": len(results),
        "score": status["killed"] / judged if judged else 1.0,
        "required_score": REQUIRED_SCORE,
        "how": dict(Counter(result.how for result in results if result.status == "killed").most_common()),
        "proofs": dict(Counter(result.how for result in results if result.status == "equivalent").most_common()),
        "operators": dict(sorted(operators.items())),
        "mutants": [result.as_dict() for result in results],
        "wall_s": round(seconds, 1),
    }


def print_summary(figures: dict[str, Any]) -> None:
    print(f"{'operator':20} {'killed':>7} {'survived':>9} {'equivalent':>11} {'total':>6}")
    for name, row in [*figures["operators"].items(), ("all", figures)]:
        print(f"{name:20} {row['killed']:7} {row['survived']:9} {row['equivalent']:11} {row['total']:6}")
    print("killed by: " + ", ".join(f"{how} {count}" for how, count in figures["how"].items()))
    for status in ("equivalent", "survived"):
        for m in figures["mutants"]:
            if m["status"] == status:
                print(f"{status}: {m['file']}:{m['line']} {m['original']} -> {m['instead']} [{m['operator']}]")
                print(f"    {m['how']}: {m['evidence']}")
    judged = figures["total"] - figures["equivalent"]
    print(
        f"score: {100 * figures['score']:.1f} % ({figures['killed']} of {judged} that are not equivalent; "
        f"at least {100 * REQUIRED_SCORE:g} % asked) in {figures['wall_s']:g} s"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="judge every N-th mutant only")
    parser.add_argument(
        "--file", default="", metavar="TEXT", help="judge mutants of files with TEXT in their path only"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the mutation score; 0 if it is high enough."""
    start = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="fastattn-mutation-") as folder:
            schema = build_schema(Path(folder))
            chosen = [n for n, mutant in enumerate(schema.mutants) if args.file in mutant.file][:: max(1, args.every)]
            with Bench(schema, Progress(), *all_cases()) as bench:
                results = bench.judge(chosen)
    except (BackendUnavailableError, BaselineError, EditError) as error:
        print(f"fastattn bench mutation: {error}", file=sys.stderr)
        return 2
    figures = summary(results, time.monotonic() - start)
    if args.json:
        print(json.dumps(figures, indent=1))
    else:
        print_summary(figures)
    return 0 if figures["score"] >= REQUIRED_SCORE else 1
