"""`fastattn bench packing`: simulated cycles of short queries with the heads of a group packed into a block, and not.

Every row is one problem with `pack_gqa` 0 and 1, all other fields op_host's choice. Cycles are simulated, launch
included, arithmetic left out; read: bytes that the cores read from L2 and HBM.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .._native import core
from ..cli.text import byte_text, table
from ..sim.timing import time_plan
from ..soc_config import load_soc
from ..tuning import commit_of_checkout

QUERIES = (1, 16, 64)
GROUPS = (4, 8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--soc", default="ascend910b2", help="a file of configs/soc (default %(default)s)")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--keys", type=int, default=4096)
    parser.add_argument("--queries", type=int, nargs="+", default=list(QUERIES))
    parser.add_argument("--groups", type=int, nargs="+", default=list(GROUPS))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)


def run(args: argparse.Namespace) -> int:
    sizes = {"b": args.batch, "h_kv": args.kv_heads, "s_kv": args.keys, "d": 128, "dtype": "fp16", "causal": True}
    answer = measure(sizes, args.queries, args.groups, args.soc, args.threads)
    print(json.dumps(answer, indent=2) if args.json else as_text(answer))
    return 0


def measure(
    sizes: Mapping[str, Any], queries: Sequence[int], groups: Sequence[int], soc_name: str, threads: int = 1
) -> dict[str, Any]:
    soc = load_soc(soc_name).values()
    rows = []
    for s_q in queries:
        for group in groups:
            problem = {**sizes, "s_q": s_q, "h_q": group * sizes["h_kv"]}
            row: dict[str, Any] = {"s_q": s_q, "group": group}
            for name, pack in (("apart", 0), ("packed", 1)):
                plan = core().plan(problem, soc, {"pack_gqa": pack})
                report = time_plan(problem, plan, soc, threads=threads)
                row[name] = {
                    "cycles": report["cycles"],
                    "read_bytes": report["gm_bytes_read"],
                    "block_q": plan["tiling"]["block_q"],
                }
            row["gain"] = row["apart"]["cycles"] / row["packed"]["cycles"]
            rows.append(row)
    return {
        "soc": soc_name,
        "commit": commit_of_checkout(),
        "cycles_are": "simulated",
        "problem": dict(sizes),
        "rows": rows,
    }


def as_text(answer: Mapping[str, Any]) -> str:
    header = ["s_q", "group", "apart cycles", "packed cycles", "gain", "apart read", "packed read"]
    rows = [
        [row["s_q"], row["group"], row["apart"]["cycles"], row["packed"]["cycles"], f"{row['gain']:.2f}",
         byte_text(row["apart"]["read_bytes"]), byte_text(row["packed"]["read_bytes"])]
        for row in answer["rows"]
    ]  # fmt: skip
    p = answer["problem"]
    sizes = f"b={p['b']}, {p['h_kv']} key heads, {p['s_kv']} keys, d={p['d']}, causal"
    title = f"{answer['soc']}, commit {answer['commit']}, {sizes}; cycles simulated"
    return f"{title}\n{table(header, rows)}"
