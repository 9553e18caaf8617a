"""Sequential against pipelined AllReduce of tensor-parallel attention on simulated 910Bs.

Each row: the same kernel with one block (everything computed, then one AllReduce), with the planner's blocks, and two
lower bounds: computing alone and one AllReduce alone. All ranks do the same, so one is simulated and stands for all.
Times are simulated; nothing here has run on silicon. Definitions: docs/allreduce.md.
"""

import argparse
import json
from dataclasses import dataclass
from typing import Any

import torch

from .._native import core
from ..soc_config import load_soc
from . import allreduce_bound

SOC = "ascend910b2"
LENGTHS = (2048, 4096, 8192, 16384, 32768)


@dataclass(frozen=True)
class Layer:
    """Attention of one layer, all ranks together."""

    ranks: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int


LAYERS = {
    "llama2-70b": Layer(8, 64, 8, 128, 8192),
    "pangu-38b": Layer(8, 40, 40, 128, 5120),
    "llama-7b": Layer(2, 32, 32, 128, 4096),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--layers", nargs="*", choices=sorted(LAYERS), default=list(LAYERS))
    parser.add_argument("--lengths", nargs="*", type=int, default=list(LENGTHS), help="tokens")
    parser.add_argument("--soc", default=SOC)
    parser.add_argument(
        "--bound", action="store_true", help="instead: the least time that the model has for any blocks"
    )


def simulate(
    layer: Layer, tokens: int, soc: str, blocks: list[int] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures and plan of one run, times only."""
    from ..distributed import RankInputs, simulate_ranks

    heads, kv_heads = layer.heads // layer.ranks, layer.kv_heads // layer.ranks
    q, k, v = (torch.zeros(1, tokens, h, layer.head_dim, dtype=torch.float16) for h in (heads, kv_heads, kv_heads))
    w_o = torch.zeros(layer.hidden, heads * layer.head_dim, dtype=torch.float16)
    options = {"functional": False, "checks": False}
    inputs = [RankInputs(q, k, v, w_o)]
    result = simulate_ranks(inputs, causal=True, soc=soc, blocks=blocks, options=options, stand_for=layer.ranks)
    return dict(result.figures), dict(result.plan)


def measure(name: str, tokens: int, soc: str) -> dict[str, Any]:
    layer = LAYERS[name]
    pipelined, plan = simulate(layer, tokens, soc)
    blocks = list(plan["blocks"])
    sequential, _ = (pipelined, plan) if len(blocks) == 1 else simulate(layer, tokens, soc, [tokens])
    link_us = core().all_reduce_us(load_soc(soc).values(), layer.ranks, float(tokens * layer.hidden * 2))
    compute_us = sequential["time_us"] - link_us
    shorter = min(pipelined["compute_us"], pipelined["link_us"])
    return {
        "layer": name,
        "ranks": layer.ranks,
        "tokens": tokens,
        "blocks": blocks,
        "sequential_us": sequential["time_us"],
        "pipelined_us": pipelined["time_us"],
        "compute_us": compute_us,
        "link_us": link_us,
        "link_share": link_us / sequential["time_us"],
        "speedup": sequential["time_us"] / pipelined["time_us"],
        "hidden": pipelined["overlap_us"] / shorter,
        "of_bound": max(compute_us, link_us) / pipelined["time_us"],
    }


def published() -> dict[str, float]:
    """The MatMul + AllReduce of the vendor's tuning case (8 NPUs, 4096 x 8192 result, fp16) from its own computing time
    and this model of the links; published: 1874 us sequential, 1262 us in blocks of 512 and 4 x 896 rows."""
    soc = load_soc(SOC)
    matmul_us, rows, granule = 803.0, 4096, 128
    granules = rows // granule
    values = soc.values()
    scale = 1 / 2**20
    problem = {
        "tokens": rows,
        "granule": granule,
        "compute_us": [matmul_us * (i + 1) / granules for i in range(granules)],
        "bytes_per_token": 8192.0 * 2,
        "slowdown": values["links.slowdown"],
        "link": {
            "switch_bytes": values["links.switch_mb"] / scale,
            "small_us_per_byte": values["links.small_us_per_mb"] * scale,
            "small_us": values["links.small_us"],
            "large_us_per_byte": values["links.large_us_per_mb"] * scale,
            "large_us": values["links.large_us"],
        },
        "blocks": [512, 896, 896, 896, 896],
    }
    model = core().plan_token_blocks(problem)["model"]
    return {"sequential_us": model["sequential_us"], "pipelined_us": model["pipelined_us"]}


PUBLISHED = {"sequential_us": 1874.0, "pipelined_us": 1262.0}


def run_bound(options: argparse.Namespace) -> int:
    """Of every row the model's least time, beside the simulated sequential form."""
    rows = []
    for name in options.layers:
        for tokens in options.lengths:
            sequential, plan = simulate(LAYERS[name], tokens, options.soc, [tokens])
            us = sequential["time_us"]
            row = allreduce_bound.bound(plan["block_problem"], plan["launch_us"], us)
            rows.append({"layer": name, "ranks": LAYERS[name].ranks, "tokens": tokens, "sequential_us": us} | row)
    if options.json:
        print(json.dumps({"soc": options.soc, "kind": "modelled; sequential_us simulated", "rows": rows}))
        return 0
    print(f"modelled for {options.soc}, computing as simulated; times in us; the least of all blocks")
    for r in rows:
        print(
            f"{r['layer']} x{r['ranks']} {r['tokens']:6} | sequential {r['sequential_us']:.0f} (simulated) | least "
            f"{r['least_us']:.0f} = {r['text']} | {r['speedup']:.3f}x | {'+'.join(map(str, r['blocks']))} of "
            f"all multiples of {r['multiples_of']}\n"
            f"    {allreduce_bound.ASKED}x is {r['asked_us']:.0f}; without lag, launch and costs of a block "
            f"{r['speedup_without_lag']:.3f}x, without slowdown {r['speedup_without_slowdown']:.3f}x; "
            f"{allreduce_bound.ASKED}x takes constants of a message times {_factor(r['needed_messages'])}, or times on "
            f"the wire times {_factor(r['needed_wire'])}"
        )
    return 0


def _factor(value: float | None) -> str:
    return "(no factor from 1 to 0)" if value is None else f"{value:.2f}"


def run(options: argparse.Namespace) -> int:
    if options.bound:
        return run_bound(options)
    rows = [measure(name, tokens, options.soc) for name in options.layers for tokens in options.lengths]
    ours = published()
    if options.json:
        case = {name: {"model": ours[name], "published": PUBLISHED[name]} for name in PUBLISHED}
        print(json.dumps({"soc": options.soc, "kind": "simulated", "rows": rows, "published_case": case}))
        return 0
    print(f"simulated on {options.soc}; times in us; hidden: share of the shorter of computing and links that overlaps")
    for r in rows:
        blocks = "+".join(map(str, r["blocks"])) if len(r["blocks"]) <= 8 else f"{len(r['blocks'])} blocks"
        print(
            f"{r['layer']} x{r['ranks']} {r['tokens']:6} | sequential {r['sequential_us']:8.0f} | pipelined "
            f"{r['pipelined_us']:8.0f} | compute {r['compute_us']:8.0f} | links {r['link_us']:7.0f} "
            f"({r['link_share']:.0%}) | {r['speedup']:.2f}x | hidden {r['hidden']:.0%} | {blocks}"
        )
    for name, value in PUBLISHED.items():
        print(
            f"published MatMul + AllReduce, {name}: {value:.0f}, model {ours[name]:.0f} ({ours[name] / value - 1:+.1%})"
        )
    return 0
