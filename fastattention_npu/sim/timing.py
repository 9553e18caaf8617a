"""Simulated time of a kernel without its arithmetic: what tuning and the benchmarks use.

The simulator issues every instruction and copy of the real kernel but computes nothing, so that operands need no memory
and a launch takes a fraction of the time. Times are those of a run with arithmetic, to the cycle; races and poison are
not looked for. Lengths on the device (cu_seqlens, seqused_k) cannot be timed this way: the kernel reads them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._native import core

FAKE_ADDRESS = 1 << 44  # operands that nothing reads or writes
FAKE_SPACING = 1 << 41
HALF_BYTES, FLOAT_BYTES = 2, 4
HAS_NUMBERS = {"sinks": "has_sinks", "alibi_slopes": "has_alibi"}
MASK_BYTES = {"bool": 1, "windows": 1, "add": HALF_BYTES, "add_fp32": FLOAT_BYTES}  # an element of a mask tensor


def fake_operands(sizes: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """(address, bytes) of operands without memory."""
    return {name: (FAKE_ADDRESS + i * FAKE_SPACING, size) for i, (name, size) in enumerate(sizes.items())}


def timing_options(threads: int = 1, warm_l2: bool = False) -> dict[str, Any]:
    return {"functional": False, "checks": False, "threads": threads, "warm_l2": warm_l2}


def operand_bytes(problem: Mapping[str, Any], tiling: Mapping[str, Any]) -> dict[str, int]:
    """Bytes of every operand in GM; q, k, v and o without gaps, a mask tensor as large as its strides say."""
    p = problem
    rows_q, rows_kv = p["b"] * p["s_q"] * p["h_q"], p["b"] * p["s_kv"] * p["h_kv"]
    d_v = p.get("d_v") or p["d"]
    elems = {"q": rows_q * p["d"], "k": rows_kv * p["d"], "v": rows_kv * d_v, "o": rows_q * d_v}
    sizes = {name: count * HALF_BYTES for name, count in elems.items()}
    sizes |= {"lse": rows_q * FLOAT_BYTES, "mask": constant_bytes(tiling)}
    if tiling["mask_tensor"] != "none":
        batch, row, head = tiling["mask_strides"]
        last = (p["b"] - 1) * batch + (p["h_q"] - 1) * head + (p["s_q"] - 1) * row
        sizes["attn_mask"] = (last + p["s_kv"]) * MASK_BYTES[tiling["mask_tensor"]]
    return sizes


def constant_bytes(tiling: Mapping[str, Any]) -> int:
    """Of the M-mask and the ramp, made once per device."""
    return len(core().device_constants(tiling["mask_block"], tiling["mask"]))


def time_plan(
    problem: Mapping[str, Any],
    plan: Mapping[str, Any],
    soc: Mapping[str, Any],
    warm_l2: bool = False,
    threads: int = 1,
    events: int = 0,
) -> dict[str, Any]:
    """The simulator's report for a plan of `problem` (op_host's words, as in core().plan); with `events` also the
    timeline of all core groups, which may have so many events."""
    # One number a head, which the kernel does read.
    numbers = {
        name: np.zeros(problem["b"] * problem["h_q"], np.float32)
        for name in ("sinks", "alibi_slopes")
        if plan["tiling"][HAS_NUMBERS[name]]
    }
    operands = fake_operands(operand_bytes(problem, plan["tiling"]))
    operands |= {name: (array.ctypes.data, array.nbytes) for name, array in numbers.items()}
    timeline = {"trace": list(range(plan["block_dim"])), "trace_events": events} if events else {}
    report = core().simulate(
        "flash_attention_fwd",
        dict(soc),
        plan["tiling_bytes"],
        plan["block_dim"],
        operands,
        plan["workspace_bytes"],
        timing_options(threads, warm_l2) | timeline,
    )
    return dict(report)
