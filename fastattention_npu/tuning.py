"""The search for a tiling: modelled cost first, then simulation of the best candidates and of their neighbours.

Deterministic: the same shape, SoC and kernel give the same tiling, whatever the number of workers. Costs are modelled
and simulated cycles; nothing here was measured on a card.
"""

import math
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._native import core
from .sim.timing import time_plan

# The choice of a tiling that suits a whole class of shapes; how their tasks are divided depends on each shape.
CLASS_FIELDS = (
    *("block_q", "slice_q", "block_kv", "ring", "preload", "l1_tile_kv", "l1_tile_v", "l1_tile_p"),
    *("l0_tile_q", "l0_tile_kv", "interleave", "strip_rows"),
)
# Fields that a tuned file holds; op_host derives the others.
RANGE_WEIGHTS = ("block_units", "task_units")
TUNED_FIELDS = (*CLASS_FIELDS, "schedule", "stagger", *RANGE_WEIGHTS)
MODELLED_BEST = 12  # candidates that are simulated in the first round
MOST_ALIKE = 3  # of them with the same blocks and preload depth: the rest would only repeat them
ROUNDS = 4  # of neighbours of the best so far, at most
LEADERS = 2  # whose neighbours a round simulates
# Values that a neighbour may take; what does not fit is refused by op_host and left out.
STEPS: Mapping[str, Sequence[int]] = {
    "block_q": (32, 64, 128, 256, 512),
    "slice_q": (64, 128, 256),
    "block_kv": (256, 512, 768, 1024),
    "preload": (1, 2, 3, 4, 5),
    "l1_tile_kv": (64, 128, 256, 512),
    "l1_tile_v": (64, 128, 256, 512),
    "l1_tile_p": (64, 128, 256),
    "l0_tile_q": (64, 128),
    "l0_tile_kv": (64, 128, 256),
    "interleave": (0, 1),
    "strip_rows": (8, 16, 32),
    "schedule": (0, 1),
    "stagger": (1, 2, 8),
    "block_units": (0, 1, 2, 4, 8),
    "task_units": (0, 1, 2, 4, 8),
}
# What op_host derives anew when a field changes, because the old value may not fit or not suit the new one.
FOLLOWERS: Mapping[str, Sequence[str]] = {
    "block_q": ("slice_q", "l0_tile_q", "l1_tile_v", *RANGE_WEIGHTS),
    "slice_q": ("l0_tile_q", *RANGE_WEIGHTS),
    "block_kv": ("l1_tile_v", "l1_tile_p", *RANGE_WEIGHTS),
    "l1_tile_kv": ("l1_tile_v",),
    "l0_tile_q": ("l1_tile_v",),
    "l0_tile_kv": ("l1_tile_p",),
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


def fields_of(tiling: Mapping[str, Any], names: Sequence[str] = TUNED_FIELDS) -> Fields:
    return {name: int(tiling[name]) for name in names}


def neighbours(fields: Mapping[str, int]) -> Iterator[tuple[str, Fields]]:
    """Tilings that differ in one choice, with its name. What depends on it follows: the ring on preload, inner tiles on
    outer ones (left out where op_host shall derive them), and the strip on block_kv: it keeps its place in UB."""
    for name, values in STEPS.items():
        for value in values:
            if name not in fields or value == fields[name]:
                continue
            changed = {key: x for key, x in fields.items() if key not in FOLLOWERS.get(name, ())} | {name: value}
            changed["ring"] = changed["preload"] + 1
            changed["l1_tile_kv"] = math.gcd(changed["l1_tile_kv"], changed["block_kv"])
            changed["l0_tile_kv"] = min(changed["l0_tile_kv"], changed["l1_tile_kv"])
            strip_elems = fields["strip_rows"] * fields["block_kv"]
            if name == "block_kv" and changed["strip_rows"] * value > strip_elems:
                changed["strip_rows"] = max(8, strip_elems // value // 8 * 8)
            if changed[name] == value:
                yield f"{name} {fields[name]} -> {value}", changed


class Search:
    """Plans and simulates tilings of one problem on one SoC, each once. names: the fields that it chooses; fixed:
    fields that stay as they are."""

    def __init__(
        self,
        problem: Mapping[str, Any],
        soc: Mapping[str, Any],
        workers: int,
        names: Sequence[str] = TUNED_FIELDS,
        fixed: Mapping[str, Any] | None = None,
    ) -> None:
        self.problem, self.soc, self.workers, self.names = dict(problem), dict(soc), workers, names
        self.fixed = dict(fixed or {})
        self.known: dict[Key, Candidate] = {}

    def plan(self, fields: Mapping[str, int]) -> dict[str, Any] | None:
        try:
            return core().plan(self.problem, self.soc, dict(fields) | self.fixed)
        except ValueError:
            return None  # does not fit this SoC

    def own_fields(self) -> Fields:
        """op_host's choice; ValueError with its reasons if the problem has no plan."""
        return fields_of(core().plan(self.problem, self.soc, self.fixed)["tiling"], self.names)

    def modelled_best(self, count: int) -> list[Fields]:
        """The cheapest candidates by modelled cost, of which no more than MOST_ALIKE share their blocks and depth."""
        chosen: list[Fields] = []
        alike: Counter[tuple[int, ...]] = Counter()
        for row in core().candidates(self.problem, self.soc, self.fixed):
            fields = fields_of(row["tiling"], self.names)
            blocks = tuple(fields[name] for name in ("block_q", "block_kv", "preload"))
            alike[blocks] += 1
            if alike[blocks] <= MOST_ALIKE and fields not in chosen and len(chosen) < count:
                chosen.append(fields)
        return chosen

    def simulate(self, tilings: Iterable[Mapping[str, int]], follow: "Follow") -> list[Candidate | None]:
        """In their order, what does not fit as None. Fields that a tiling leaves out are those that op_host derives."""
        asked: list[Key | None] = []
        todo: dict[Key, tuple[Fields, dict[str, Any]]] = {}
        for wanted in tilings:
            plan = self.plan(wanted)
            fields = fields_of(plan["tiling"], self.names) if plan else {}
            key = tuple(sorted(fields.items()))
            asked.append(key if plan else None)
            if plan and key not in self.known:
                todo[key] = fields, plan
        with ThreadPoolExecutor(self.workers) as pool:  # the simulator runs without the interpreter's lock
            cycles = pool.map(lambda item: time_plan(self.problem, item[1], self.soc)["cycles"], todo.values())
            for (key, (fields, plan)), simulated in zip(todo.items(), follow(cycles, len(todo)), strict=True):
                self.known[key] = Candidate(fields, plan["model"]["cycles"], simulated)
        return [self.known[key] if key is not None else None for key in asked]

    def ranked(self) -> list[Candidate]:
        return sorted(self.known.values(), key=lambda c: (c.simulated, sorted(c.fields.items())))

    def climb(self, follow: "Follow", best: int, rounds: int) -> Candidate:
        """Simulates op_host's choice, the modelled best, then neighbours of the fastest; returns op_host's choice."""
        start = self.simulate([self.own_fields()], follow)[0]
        assert start is not None, "op_host's choice fits"
        self.simulate(self.modelled_best(best), follow)
        for _ in range(rounds):
            leaders = self.ranked()[:LEADERS]
            self.simulate((changed for one in leaders for _, changed in neighbours(one.fields)), follow)
            if self.ranked()[:LEADERS] == leaders:
                break
        return start


Key = tuple[tuple[str, int], ...]
Follow = Callable[[Iterable[float], int], Iterable[float]]


def tune(
    problem: Mapping[str, Any],
    soc: Mapping[str, Any],
    workers: int = 1,
    follow: Follow = lambda items, _: items,
    best: int = MODELLED_BEST,
    rounds: int = ROUNDS,
    fixed: Mapping[str, Any] | None = None,
) -> Tuned:
    """The fastest simulated tiling of a problem (op_host's words) on a SoC (flat values).

    fixed: fields that stay as they are. follow: sees every simulated cost as it comes, with how many there will be, and
    hands it on.
    Raises ValueError with op_host's reasons if the problem has no plan.
    """
    search = Search(problem, soc, workers, fixed=fixed)
    start = search.climb(follow, best, rounds)
    ranked = search.ranked()
    return Tuned(ranked[0], start, tuple(ranked))


# What the simulated cycles of a tiling depend on.
TIMED_FOLDERS = ("op_kernel", "op_host", "configs/soc", "fastattention_npu/sim")


def commit_of_checkout() -> str:
    """The last commit of the package's checkout that changed the kernel, op_host or the simulator, "+" behind it if
    files of theirs differ from it; "unknown" without a checkout."""
    root = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments, "--", *TIMED_FOLDERS]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    try:
        changed = "+" if git("status", "--porcelain", "--untracked-files=no") else ""
        return (git("log", "-1", "--format=%h") or "unknown") + changed
    except (OSError, subprocess.SubprocessError):
        return "unknown"
