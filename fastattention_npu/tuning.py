"""The search for a tiling: modelled cost first, then simulation of the best candidates and of their neighbours.

Deterministic: the same shape, SoC and kernel give the same tiling, whatever the number of workers. Costs are modelled
and simulated cycles; nothing here was measured on a card.
"""

import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._native import core
from .sim.timing import time_plan

# Fields that a tuned file holds; op_host derives the others.
TUNED_FIELDS = ("block_q", "block_kv", "ring", "preload", "l1_tile_kv", "l0_tile_kv", "strip_rows", "schedule")
MODELLED_BEST = 12  # candidates that are simulated in the first round
ROUNDS = 2  # of neighbours of the best so far
# Values that a neighbour may take; what does not fit is refused by op_host and left out.
STEPS: Mapping[str, Sequence[int]] = {
    "block_q": (32, 64, 128, 256),
    "block_kv": (256, 512, 768, 1024),
    "preload": (1, 2, 3, 4),
    "l1_tile_kv": (64, 128, 256, 512),
    "l0_tile_kv": (64, 128, 256),
    "strip_rows": (8, 16, 32),
    "schedule": (0, 1),
}

Fields = dict[str, int]


@dataclass(frozen=True)
class Candidate:
    """A tiling with its costs in cycles."""

    fields: Mapping[str, int]
    modelled: float
    simulated: float


@dataclass(frozen=True)
class Tuned:
    """The best candidate, op_host's own choice, and everything that was simulated, the fastest first."""

    best: Candidate
    start: Candidate
    simulated: tuple[Candidate, ...]


def fields_of(tiling: Mapping[str, Any]) -> Fields:
    return {name: int(tiling[name]) for name in TUNED_FIELDS}


def neighbours(fields: Mapping[str, int]) -> Iterator[tuple[str, Fields]]:
    """Tilings that differ in one choice, with its name. What depends on it follows: the ring on preload, inner tiles on
    outer ones, and the strip on block_kv, so that it keeps its place in UB."""
    for name, values in STEPS.items():
        for value in values:
            changed = dict(fields) | {name: value}
            changed["ring"] = changed["preload"] + 1
            changed["l1_tile_kv"] = min(changed["l1_tile_kv"], changed["block_kv"])
            changed["l0_tile_kv"] = min(changed["l0_tile_kv"], changed["l1_tile_kv"])
            strip_elems = fields["strip_rows"] * fields["block_kv"]
            if name == "block_kv" and changed["strip_rows"] * value > strip_elems:
                changed["strip_rows"] = max(8, strip_elems // value // 8 * 8)
            if value != fields[name] and changed[name] == value:
                yield f"{name} {fields[name]} -> {value}", changed


class Search:
    """Plans and simulates tilings of one problem on one SoC, each once."""

    def __init__(self, problem: Mapping[str, Any], soc: Mapping[str, Any], workers: int) -> None:
        self.problem, self.soc, self.workers = dict(problem), dict(soc), workers
        self.known: dict[tuple[tuple[str, int], ...], Candidate] = {}

    def plan(self, fields: Mapping[str, int]) -> dict[str, Any] | None:
        try:
            return core().plan(self.problem, self.soc, dict(fields))
        except ValueError:
            return None  # does not fit this SoC

    def simulate(self, tilings: Iterable[Mapping[str, int]], follow: "Follow") -> list[Candidate]:
        """Those that fit, in their order."""
        todo: dict[tuple[tuple[str, int], ...], tuple[Fields, dict[str, Any]]] = {}
        for fields in tilings:
            key = tuple(sorted(fields.items()))
            if key not in self.known and key not in todo and (plan := self.plan(fields)) is not None:
                todo[key] = (dict(fields), plan)
        with ThreadPoolExecutor(self.workers) as pool:  # the simulator runs without the interpreter's lock
            cycles = pool.map(lambda item: time_plan(self.problem, item[1], self.soc)["cycles"], todo.values())
            for (key, (fields, plan)), simulated in zip(todo.items(), follow(cycles, len(todo)), strict=True):
                self.known[key] = Candidate(fields, plan["model"]["cycles"], simulated)
        return [self.known[key] for key in todo]

    def ranked(self) -> list[Candidate]:
        return sorted(self.known.values(), key=lambda c: (c.simulated, sorted(c.fields.items())))


Follow = Callable[[Iterable[float], int], Iterable[float]]


def tune(
    problem: Mapping[str, Any],
    soc: Mapping[str, Any],
    workers: int = 1,
    follow: Follow = lambda items, _: items,
    best: int = MODELLED_BEST,
    rounds: int = ROUNDS,
) -> Tuned:
    """The fastest simulated tiling of a problem (op_host's words) on a SoC (flat values).

    follow: sees every simulated cost as it comes, with how many there will be, and hands it on.
    Raises ValueError with op_host's reasons if the problem has no plan.
    """
    search = Search(problem, soc, workers)
    start = fields_of(core().plan(search.problem, search.soc, {})["tiling"])
    search.simulate([start], follow)
    first = search.ranked()[0]
    modelled = core().candidates(search.problem, search.soc, {})
    search.simulate([fields_of(row["tiling"]) for row in modelled[:best]], follow)
    for _ in range(rounds):
        leader = search.ranked()[0]
        search.simulate((changed for _, changed in neighbours(leader.fields)), follow)
        if search.ranked()[0] == leader:
            break
    ranked = search.ranked()
    return Tuned(ranked[0], first, tuple(ranked))


def commit_of_checkout() -> str:
    """The commit that the package's checkout stands at, "+" behind it if files differ; "unknown" without one."""
    root = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    try:
        changed = "+" if git("status", "--porcelain", "--untracked-files=no", "--", "op_kernel", "op_host") else ""
        return git("rev-parse", "--short", "HEAD") + changed
    except (OSError, subprocess.SubprocessError):
        return "unknown"
