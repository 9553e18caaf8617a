"""`fastattn bench mask`: memory and simulated cycles of the ways in which a window reaches the scores.

tiling: windows of one M-mask. predicate: each row's hidden columns overwritten by lane masks. full: an S x S tensor of
bytes. These three compute the same blocks, of the sizes that op_host chooses for `tiling` where the mode's buffers fit
beside them, else of its choice for the mode (--json shows them). `alone` is the S x S tensor without `causal` or a
window beside it: nothing tells the kernel what it may skip.

Memory is computed. Cycles are simulated, launch included, arithmetic left out, one head: up to --upto where the work
grows with the square of the length, at every length with a window.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .._native import core
from ..cli.text import byte_text, table
from ..sim.timing import constant_bytes, time_plan
from ..soc_config import load_soc
from ..tuning import commit_of_checkout

MODES = ("tiling", "predicate", "full", "alone")
SIZES = (1024, 2048, 4096, 8192, 16384, 32768, 65536)
SIZE_FIELDS = ("block_q", "block_kv", "l1_tile_kv", "l0_tile_kv", "ring", "preload", "schedule", "block_dim")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--soc", default="ascend910b2", help="a file of configs/soc (default %(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), metavar="S", help="sequence lengths")
    parser.add_argument(
        "--upto", type=int, default=16384, metavar="S", help="simulate causal and alone up to S (default %(default)s)"
    )
    parser.add_argument("--window", type=int, default=1024, metavar="W", help="keys that a row of the window sees")
    parser.add_argument("--head-dim", type=int, default=128, metavar="D")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)


def run(args: argparse.Namespace) -> int:
    answer = measure(args.sizes, args.upto, args.window, args.head_dim, args.soc, args.threads)
    print(json.dumps(answer, indent=2) if args.json else as_text(answer))
    return 0


def measure(
    sizes: Sequence[int], upto: int, window: int, head_dim: int, soc_name: str, threads: int = 1
) -> dict[str, Any]:
    """A row for every length and pattern; cycles None where they were not simulated."""
    soc = load_soc(soc_name).values()
    rows = []
    alone: dict[int, dict[str, Any]] = {}  # the same for every pattern
    for pattern, sides in (("causal", (-1, 0)), ("window", (window - 1, 0))):
        for s in sizes:
            problem = {"b": 1, "s_q": s, "s_kv": s, "h_q": 1, "h_kv": 1, "d": head_dim, "dtype": "fp16"}
            simulated = s <= upto or pattern == "window"
            modes: dict[str, Any] = {}
            for mode in MODES[:3]:
                sizes_of = {name: modes["tiling"]["tiling"][name] for name in SIZE_FIELDS} if modes else {}
                modes[mode] = _one(problem, sides, mode, soc, sizes_of, simulated, threads)
            if s not in alone:
                alone[s] = _one(problem, sides, "alone", soc, {}, s <= upto, threads)
            modes["alone"] = alone[s]
            rows.append({"pattern": pattern, "s": s, "modes": modes})
    return {
        "soc": soc_name,
        "commit": commit_of_checkout(),
        "heads": 1,
        "head_dim": head_dim,
        "window": window,
        "cycles_are": "simulated",
        "rows": rows,
    }


def _one(
    sizes: Mapping[str, Any],
    sides: tuple[int, int],
    mode: str,
    soc: Mapping[str, Any],
    fields: Mapping[str, Any],
    simulated: bool,
    threads: int,
) -> dict[str, Any]:
    problem = dict(sizes) | {"window_left": sides[0], "window_right": sides[1]}
    overrides: dict[str, Any] = {**fields, "mask": mode}
    if mode == "alone":
        problem = dict(sizes) | {"mask_dtype": "bool", "mask_strides": (0, 0, sizes["s_kv"], 1)}
        overrides = {}
    try:
        plan = core().plan(problem, dict(soc), overrides)
    except ValueError:  # the sizes leave no room for the mode's buffers
        plan = core().plan(problem, dict(soc), {"mask": mode} if fields else overrides)
    tiling = plan["tiling"]
    cycles = time_plan(problem, plan, soc, threads=threads)["cycles"] if simulated else None
    memory = sizes["s_q"] * sizes["s_kv"] if mode in ("full", "alone") else constant_bytes(tiling)
    return {
        "memory_bytes": memory,
        "cycles": cycles,
        "tiling": {name: tiling[name] for name in (*SIZE_FIELDS, "strip_rows")},
    }


def as_text(answer: Mapping[str, Any]) -> str:
    header = ["pattern", "s", *(f"{mode} memory" for mode in MODES[:3]), *(f"{mode} cycles" for mode in MODES)]
    header += ["predicate / tiling", "full / tiling", "alone / tiling"]
    rows = []
    for row in answer["rows"]:
        modes = row["modes"]
        cycles = [modes[mode]["cycles"] for mode in MODES]
        ratios = [f"{x / cycles[0]:.2f}" if x and cycles[0] else "-" for x in cycles[1:]]
        memory = [byte_text(modes[mode]["memory_bytes"]) for mode in MODES[:3]]
        rows.append([row["pattern"], row["s"], *memory, *cycles, *ratios])
    sizes = f"one head of {answer['head_dim']}, fp16, window of {answer['window']} keys"
    title = f"{answer['soc']}, commit {answer['commit']}, {sizes}; cycles simulated"
    return f"{title}\n{table(header, rows)}"
