"""`fastattn bench balance`: when the core groups of a launch end, simulated, for sequences and for packed batches.

Work: the units by which op_host and the kernel cut it, largest over the mean of the groups. Ends: cycles after which a
group's cube core has done its work, latest over mean. Lengths of packed batches are random, the same every time:
sequences of `longest` tokens times the square of a number between 0 and 1. `--random COUNT` takes as many problems by
chance instead, causal sequences of one length and packed batches, with at least four blocks a core. Everything is
simulated, arithmetic left out, cold L2; nothing was measured on a card.
"""

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._native import core
from ..cli.arguments import positive, seed
from ..cli.text import table
from ..sim.timing import time_plan
from ..soc_config import load_soc
from ..tuning import commit_of_checkout


@dataclass(frozen=True)
class Case:
    """A problem; lengths: (queries, keys) of each batch entry where they are known on the device only."""

    s_q: int
    s_kv: int
    heads: int = 1
    causal: bool = True
    window_left: int = -1
    lengths: tuple[tuple[int, int], ...] = ()
    overrides: Mapping[str, int] = field(default_factory=dict)
    d: int = 128

    def __str__(self) -> str:
        kind = f"packed{sum(keys for _, keys in self.lengths)}" if self.lengths else f"{self.s_q}x{self.s_kv}"
        shape = f"{kind}-b{max(len(self.lengths), 1)}h{self.heads}d{self.d}"
        return shape + "c" * self.causal + "w" * (self.window_left >= 0)

    def problem(self) -> dict[str, Any]:
        problem: dict[str, Any] = {"b": 1, "s_q": self.s_q, "s_kv": self.s_kv, "h_q": self.heads, "h_kv": self.heads}
        problem |= {"d": self.d, "causal": self.causal, "window_left": self.window_left}
        if self.lengths:
            problem |= {"b": len(self.lengths), "layout": "TND", "has_cu_seqlens": True}
            problem["total_q"] = sum(queries for queries, _ in self.lengths)
        return problem

    def plan(self, soc: Mapping[str, Any]) -> dict[str, Any]:
        return dict(core().plan(self.problem(), dict(soc), dict(self.overrides)))

    def groups(self, soc: Mapping[str, Any]) -> list[dict[str, int]]:
        """What each core group gets to do, counted."""
        return list(core().group_work(self.plan(soc)["tiling_bytes"], list(self.lengths)))

    def ends(self, soc: Mapping[str, Any]) -> list[float]:
        """Cycles after which the cube core of each group has done its work, simulated."""
        report = time_plan(self.problem(), self.plan(soc), soc, events=1, lengths=self.lengths)
        return [float(end) for end in np.reshape(report["timeline"]["finish_cycles"], (-1, 3))[:, 0]]


def packed(seed: int, batch: int, longest: int, heads: int, causal: bool = True, d: int = 128) -> Case:
    """Sequences as long as their keys where the seed is odd, with fewer queries where it is even."""
    rng = random.Random(seed)
    keys = [max(1, int(longest * rng.random() ** 2)) for _ in range(batch)]
    lengths = tuple((n if seed % 2 else rng.randint(1, n), n) for n in keys)
    s_q, s_kv = (max(column) for column in zip(*lengths, strict=True))
    return Case(s_q, s_kv, heads, causal, lengths=lengths, d=d)


def latest(loads: Sequence[float]) -> float:
    """Largest over mean."""
    return max(loads) * len(loads) / max(sum(loads), 1)


def blocks_per_core(groups: Sequence[Mapping[str, int]]) -> float:
    return sum(group["blocks"] for group in groups) / len(groups)


# With and without a window; last query blocks of 16, 56 and 272 rows; blocks in slices; short heads.
ONE_LENGTH = (
    Case(16384, 16384),
    Case(8192, 8192, 3),
    Case(4096, 4096, 12),
    Case(8192, 8192, 3, True, 1024),
    Case(10000, 10000, 2),
    Case(3000, 3000, 8),
    Case(10000, 10000, 2, d=64),
    Case(6144, 6144, 5, d=64),
    Case(2000, 2000, 16),
    Case(1000, 1000, 32),
)
PACKED = (
    packed(9, 3, 16384, 8),
    packed(35, 6, 8000, 8),
    packed(4, 16, 4096, 8, causal=False),
    packed(33, 16, 4096, 6, causal=False),
    packed(34, 20, 2500, 8),
    packed(54, 24, 2000, 8),
    packed(3, 32, 2000, 8, d=64),
    packed(60, 12, 2000, 8, causal=False, d=64),
    packed(59, 32, 1000, 8, causal=False),
    packed(5, 64, 1024, 4, d=64),
    packed(51, 20, 700, 8),
    packed(32, 48, 700, 24),
    packed(61, 100, 400, 8),
    packed(62, 64, 300, 16, causal=False),
)


BLOCKS_PER_CORE = 4  # from as many on, loads are to be within EVEN of their mean
EVEN = 1.05
LONG_CYCLES = 100_000


def drawn(count: int, seed: int, soc: Mapping[str, Any]) -> list[Case]:
    """Problems by chance with BLOCKS_PER_CORE blocks a core or more, sequences of one length and packed by turns."""
    rng = random.Random(seed)
    cases: list[Case] = []
    while len(cases) < count:
        batch, heads, d = (
            rng.choice((3, 6, 12, 24, 48, 96)),
            rng.choice((4, 6, 8, 12, 16, 24, 32)),
            rng.choice((64, 128)),
        )
        tokens = min(rng.randint(300, 6000), 300_000 // (batch * heads))
        if len(cases) % 2 == 0:
            case = Case(tokens, tokens, heads, d=d)
        else:
            case = packed(rng.randrange(1 << 30), batch, tokens, heads, rng.random() < 0.5, d)
        if blocks_per_core(case.groups(soc)) >= BLOCKS_PER_CORE:
            cases.append(case)
    return cases


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--random", type=positive, metavar="COUNT", help="as many problems by chance instead")
    parser.add_argument("--seed", type=seed, default=1, help="of these (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--soc", default="ascend910b2", help="a file of configs/soc (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    chosen = drawn(args.random, args.seed, load_soc(args.soc).values()) if args.random else [*ONE_LENGTH, *PACKED]
    answer = measure(chosen, args.soc)
    print(json.dumps(answer, indent=2) if args.json else as_text(answer))
    return 0


def measure(cases: Sequence[Case], soc_name: str) -> dict[str, Any]:
    soc = load_soc(soc_name).values()
    rows = []
    for case in cases:
        groups, ends = case.groups(soc), case.ends(soc)
        rows.append(
            {
                "problem": case.problem(),
                "lengths": case.lengths,
                "blocks_per_core": blocks_per_core(groups),
                "work": latest([group["share"] for group in groups]),
                "ends": latest(ends),
                "cycles": max(ends),
            }
        )
    return {"soc": soc_name, "commit": commit_of_checkout(), "cycles_are": "simulated", "rows": rows}


def as_text(answer: Mapping[str, Any]) -> str:
    header = ["sequences", "longest", "keys in all", "heads", "d", "mask", "blocks a core", "work", "ends", "cycles"]
    first = f"{answer['soc']}, commit {answer['commit']}; work counted, ends and cycles simulated\n"
    return "\n".join([first + table(header, [cells(row) for row in answer["rows"]]), *summary(answer["rows"])])


def summary(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many end together, of launches of some length and of shorter ones."""
    lines = []
    for name, some in (
        (f"from {LONG_CYCLES:,} cycles on", [row for row in rows if row["cycles"] >= LONG_CYCLES]),
        ("shorter", [row for row in rows if row["cycles"] < LONG_CYCLES]),
    ):
        for kind, these in (
            ("one length", [row["ends"] for row in some if not row["lengths"]]),
            ("packed", [row["ends"] for row in some if row["lengths"]]),
        ):
            if these:
                even = sum(end <= EVEN for end in these)
                mean = sum(these) / len(these)
                lines.append(
                    f"{name}, {kind}: {even} of {len(these)} end within {EVEN} of the mean; "
                    f"mean {mean:.3f}, worst {max(these):.3f}"
                )
    return lines


def cells(row: Mapping[str, Any]) -> list[Any]:
    p = row["problem"]
    keys = sum(keys for _, keys in row["lengths"]) if row["lengths"] else p["s_kv"]
    mask = "window" if p["window_left"] >= 0 else "causal" if p["causal"] else "full"
    return [
        p["b"], p["s_kv"], keys, p["h_q"], p["d"], mask,
        f"{row['blocks_per_core']:.0f}", f"{row['work']:.3f}", f"{row['ends']:.3f}", round(row["cycles"]),
    ]  # fmt: skip
