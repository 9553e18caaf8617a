"""`fastattn bench balance`: when the core groups of a launch end, simulated, for sequences and for packed batches.

Work: the units by which op_host and the kernel cut it, largest over the mean of the groups. Ends: cycles after which a
group's cube core has done its work, latest over mean. Lengths of packed batches are random, the same every time:
sequences of `longest` tokens times the square of a number between 0 and 1. `--random COUNT` takes as many problems by
chance instead, causal sequences of one length, packed batches and keys in use, with at least four blocks a core.
Everything is simulated, arithmetic left out, cold L2; nothing was measured on a card.
"""

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .._native import core
from ..cli import arguments
from ..cli.text import table
from ..sim.timing import time_plan
from ..soc_config import load_soc
from ..tuning import commit_of_checkout


@dataclass(frozen=True)
class Case:
    """A problem; lengths: (queries, keys) of each batch entry where they are known on the device only, packed or
    (`used`) as keys in use of entries that are s_q x s_kv. key_heads: 0 for as many as heads."""

    s_q: int
    s_kv: int
    heads: int = 1
    causal: bool = True
    window_left: int = -1
    lengths: tuple[tuple[int, int], ...] = ()
    overrides: Mapping[str, int] = field(default_factory=dict)
    d: int = 128
    key_heads: int = 0
    used: bool = False

    def __str__(self) -> str:
        many = f"{'used' if self.used else 'packed'}{sum(keys for _, keys in self.lengths)}"
        kind = many if self.lengths else f"{self.s_q}x{self.s_kv}"
        heads = f"h{self.heads}kv{self.key_heads}" if self.key_heads else f"h{self.heads}"
        shape = f"{kind}-b{max(len(self.lengths), 1)}{heads}d{self.d}"
        return shape + "c" * self.causal + "w" * (self.window_left >= 0)

    def problem(self) -> dict[str, Any]:
        problem: dict[str, Any] = {"b": max(len(self.lengths), 1), "s_q": self.s_q, "s_kv": self.s_kv}
        problem |= {"h_q": self.heads, "h_kv": self.key_heads or self.heads, "d": self.d}
        problem |= {"causal": self.causal, "window_left": self.window_left}
        if self.used:
            problem["has_seq_used_kv"] = True
        elif self.lengths:
            problem |= {"layout": "TND", "has_cu_seqlens": True}
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


def in_use(seed: int, batch: int, longest: int, heads: int, key_heads: int, s_q: int) -> Case:
    """Causal, s_q queries of each entry, and any number of keys in use."""
    rng = random.Random(seed)
    keys = [rng.randint(s_q, longest) for _ in range(batch)]
    lengths = tuple((s_q, n) for n in keys)
    return Case(s_q, max(keys), heads, lengths=lengths, key_heads=key_heads, used=True)


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
    replace(packed(63, 64, 600, 16), key_heads=4),
    in_use(1, 32, 2000, 32, 8, s_q=1),
    in_use(2, 32, 2000, 16, 4, s_q=128),
)


BLOCKS_PER_CORE = 4  # from as many on, loads are to be within EVEN of their mean
EVEN = 1.05
LONG_CYCLES = 100_000


def drawn(count: int, seed: int, soc: Mapping[str, Any]) -> list[Case]:
    """Problems by chance with BLOCKS_PER_CORE blocks a core or more: one length, packed, and keys in use by turns."""
    rng = random.Random(seed)
    cases: list[Case] = []
    while len(cases) < count:
        batch, heads, d = rng.choice((3, 6, 12, 24, 48, 96)), rng.choice((4, 8, 12, 16, 24, 32)), rng.choice((64, 128))
        tokens = min(rng.randint(300, 6000), 300_000 // (batch * heads))
        kind = len(cases) % 3
        if kind == 0:
            case = Case(tokens, tokens, heads, d=d)
        elif kind == 1:
            case = packed(rng.randrange(1 << 30), batch, tokens, heads, rng.random() < 0.5, d)
            case = replace(case, key_heads=rng.choice((0, heads // 4)))
        else:
            s_q = rng.choice((1, 16, 128))
            case = in_use(rng.randrange(1 << 30), batch, max(tokens, s_q), heads, rng.choice((heads, heads // 4)), s_q)
        if blocks_per_core(case.groups(soc)) >= BLOCKS_PER_CORE:
            cases.append(case)
    return cases


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--random", type=arguments.positive, metavar="COUNT", help="as many problems by chance instead")
    parser.add_argument("--seed", type=arguments.seed, default=1, help="of these (default %(default)s)")
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


def kind_of(row: Mapping[str, Any]) -> str:
    return "keys in use" if row["problem"].get("has_seq_used_kv") else "packed" if row["lengths"] else "one length"


def summary(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many end together, of launches of some length and of shorter ones."""
    lines = []
    for name, long in ((f"from {LONG_CYCLES:,} cycles on", True), ("shorter", False)):
        for kind in ("one length", "packed", "keys in use"):
            ends = [row["ends"] for row in rows if (row["cycles"] >= LONG_CYCLES) == long and kind_of(row) == kind]
            if ends:
                even = sum(end <= EVEN for end in ends)
                lines.append(
                    f"{name}, {kind}: {even} of {len(ends)} end within {EVEN} of the mean; "
                    f"mean {sum(ends) / len(ends):.3f}, worst {max(ends):.3f}"
                )
    return lines


def cells(row: Mapping[str, Any]) -> list[Any]:
    p = row["problem"]
    keys = sum(keys for _, keys in row["lengths"]) if row["lengths"] else p["s_kv"]
    heads = p["h_q"] if p["h_q"] == p["h_kv"] else f"{p['h_q']}/{p['h_kv']}"
    mask = "window" if p["window_left"] >= 0 else "causal" if p["causal"] else "full"
    return [
        p["b"], p["s_kv"], keys, heads, p["d"], mask,
        f"{row['blocks_per_core']:.0f}", f"{row['work']:.3f}", f"{row['ends']:.3f}", round(row["cycles"]),
    ]  # fmt: skip
