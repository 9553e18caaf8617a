"""`fastattn bench ports`: what a causal launch costs beside the bytes that it moves through the L2's ports.

    simulated = launch + bytes + start + end

bytes: all copies to and from GM at the full rate of the ports; start and end: what the ports leave unused in the first
and in the second half of the time after the launch, with the copies' bytes spread evenly over their times. The plan is
the one that a call gets, or a tiling file's. Everything is simulated, arithmetic left out, cold L2; nothing was
measured on a card.
"""

import argparse
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..cli.text import table
from ..config import TilingConfig, load_tiling
from ..kernel_call import plan_problem
from ..sim.launch import default_threads
from ..sim.timing import time_plan
from ..soc_config import SocConfig, load_soc
from ..tuning import commit_of_checkout

SHAPES = ((128, 16384, 1), (128, 4096, 32), (64, 16384, 1), (64, 8192, 1))  # d, s, heads
MOST_EVENTS = 16_000_000
TERMS = ("launch", "bytes", "start", "end", "simulated")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--soc", default="ascend910b2", help="a file of configs/soc (default %(default)s)")
    parser.add_argument("--d", type=int, help="head dim, with --s and --heads: this shape only")
    parser.add_argument("--s", type=int, help="queries and keys")
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--tiling", metavar="FILE", help="tiling file or name, instead of what a call gets")
    parser.add_argument("--threads", type=int, default=default_threads())


def run(args: argparse.Namespace) -> int:
    if (args.d is None) != (args.s is None):
        raise SystemExit("fastattn bench ports: --d and --s go together")
    shapes = SHAPES if args.d is None else ((args.d, args.s, args.heads),)
    soc = load_soc(args.soc)
    tiling = load_tiling(args.tiling) if args.tiling else None
    rows = [{"d": d, "s": s, "heads": h} | terms(soc, d, s, h, args.threads, tiling) for d, s, h in shapes]
    answer = {"cycles_are": "simulated", "soc": soc.name, "commit": commit_of_checkout(), "rows": rows}
    print(json.dumps(answer, indent=2) if args.json else as_text(answer))
    return 0


def terms(
    soc: SocConfig, d: int, s: int, heads: int, threads: int = 1, tiling: TilingConfig | None = None
) -> dict[str, float]:
    """Cycles of TERMS for causal attention over one sequence."""
    sizes = {"b": 1, "s_q": s, "s_kv": s, "h_q": heads, "h_kv": heads, "d": d}
    problem: dict[str, Any] = sizes | {"dtype": "fp16", "layout": "bshd", "causal": True}
    values = soc.values()
    report = time_plan(problem, plan_problem(problem, soc, tiling), values, threads=threads, events=MOST_EVENTS)
    bytes_per_cycle = values["shared.l2_gbps"] * 1e3 / values["clock.mhz"]
    launch = values["launch.cycles"]
    half = (report["cycles"] - launch) / 2
    events = report["timeline"]["events"]
    if moved_before(events, np.inf) != report["gm_bytes_read"] + report["gm_bytes_written"]:
        raise SystemExit(f"fastattn bench ports: a launch of more than {MOST_EVENTS} events; take a shorter one")
    moved = moved_before(events, np.inf) / bytes_per_cycle
    first = moved_before(events, half) / bytes_per_cycle
    cycles = (launch, moved, half - first, half - (moved - first), report["cycles"])
    return dict(zip(TERMS, cycles, strict=True))


def moved_before(events: Mapping[str, Any], cycle: float) -> float:
    """Bytes of GM that copies have moved before a cycle of the timeline."""
    size, start, end = (np.asarray(events[name], np.float64) for name in ("gm_bytes", "start", "end"))
    share = np.clip((cycle - start) / np.maximum(end - start, 1e-9), 0, 1)
    return float((size * share).sum())


def as_text(answer: Mapping[str, Any]) -> str:
    rows = [(x["d"], x["s"], x["heads"], *(f"{x[name]:,.0f}" for name in TERMS)) for x in answer["rows"]]
    head = f"{answer['soc']}, commit {answer['commit']}, fp16, causal; cycles simulated"
    return "\n".join([head, table(("d", "s", "heads", *TERMS), rows)])
