"""Simulated time of a kernel without its arithmetic: what tuning and the benchmarks use.

The simulator issues every instruction and copy of the real kernel but computes nothing, so that operands need no memory
and a launch takes a fraction of the time. Times are those of a run with arithmetic, to the cycle; races and poison are
not looked for. Lengths on the device (cu_seqlens, seqused_k) cannot be timed this way: the kernel reads them.
"""

from collections.abc import Mapping
from typing import Any

from .._native import core

FAKE_ADDRESS = 1 << 40  # operands that nothing reads or writes
FAKE_SPACING = 1 << 36
HALF_BYTES, FLOAT_BYTES = 2, 4


def fake_operands(sizes: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """(address, bytes) of operands without memory."""
    return {name: (FAKE_ADDRESS + i * FAKE_SPACING, size) for i, (name, size) in enumerate(sizes.items())}


def timing_options(threads: int = 1, warm_l2: bool = False) -> dict[str, Any]:
    return {"functional": False, "checks": False, "threads": threads, "warm_l2": warm_l2}


def time_plan(
    problem: Mapping[str, Any], plan: Mapping[str, Any], soc: Mapping[str, Any], warm_l2: bool = False
) -> dict[str, Any]:
    """The simulator's report for a plan of `problem` (op_host's words, as in core().plan)."""
    p = problem
    rows_q, rows_kv = p["b"] * p["s_q"] * p["h_q"], p["b"] * p["s_kv"] * p["h_kv"]
    d_v = p.get("d_v") or p["d"]
    elems = {"q": rows_q * p["d"], "k": rows_kv * p["d"], "v": rows_kv * d_v, "o": rows_q * d_v}
    sizes = {name: count * HALF_BYTES for name, count in elems.items()}
    sizes |= {"lse": rows_q * FLOAT_BYTES, "mask": len(core().device_constants(plan["tiling"]["mask_block"]))}
    report = core().simulate(
        "flash_attention_fwd",
        dict(soc),
        plan["tiling_bytes"],
        plan["block_dim"],
        fake_operands(sizes),
        plan["workspace_bytes"],
        timing_options(warm_l2=warm_l2),
    )
    return dict(report)
