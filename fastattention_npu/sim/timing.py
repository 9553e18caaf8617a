"""Simulated time of a kernel without its arithmetic: what tuning and the benchmarks use.

The simulator issues every instruction and copy of the real kernel but computes nothing, so that operands need no memory
and a launch takes a fraction of the time. Times are those of a run with arithmetic, to the cycle; races and poison are
not looked for. What steers the kernel has memory: lengths on the device, and one number a head of sinks and slopes.
"""

from collections.abc import Mapping, Sequence
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


def operand_bytes(
    problem: Mapping[str, Any], tiling: Mapping[str, Any], lengths: Sequence[tuple[int, int]] = ()
) -> dict[str, int]:
    """Bytes of every operand in GM that the kernel moves; q, k, v and o without gaps, a mask tensor as large as its
    strides say. lengths: (queries, keys) of each batch entry where sequences are packed."""
    p = problem
    tokens_q, tokens_kv = p["b"] * p["s_q"], p["b"] * p["s_kv"]
    if tiling["has_cu_seqlens"]:
        tokens_q, tokens_kv = (sum(column) for column in zip(*lengths, strict=True))
    rows_q, rows_kv = tokens_q * p["h_q"], tokens_kv * p["h_kv"]
    d_v = p.get("d_v") or p["d"]
    elems = {"q": rows_q * p["d"], "k": rows_kv * p["d"], "v": rows_kv * d_v, "o": rows_q * d_v}
    sizes = {name: count * HALF_BYTES for name, count in elems.items()}
    sizes |= {"lse": rows_q * FLOAT_BYTES, "mask": constant_bytes(tiling)}
    if tiling["mask_tensor"] != "none":
        batch, row, head = tiling["mask_strides"]
        last = (p["b"] - 1) * batch + (p["h_q"] - 1) * head + (p["s_q"] - 1) * row
        sizes["attn_mask"] = (last + p["s_kv"]) * MASK_BYTES[tiling["mask_tensor"]]
    return sizes


def steering_arrays(
    problem: Mapping[str, Any], tiling: Mapping[str, Any], lengths: Sequence[tuple[int, int]]
) -> dict[str, np.ndarray]:
    """The operands that the kernel's scalar unit reads. Raises ValueError unless `lengths` suits the problem."""
    on_device = tiling["has_cu_seqlens"] or tiling["has_seq_used_kv"]
    if len(lengths) != (problem["b"] if on_device else 0):
        takes = f"the lengths of its {problem['b']} batch entries" if on_device else "no lengths on the device"
        raise ValueError(f"{len(lengths)} lengths given, this problem takes {takes}")
    numbers = {name: tiling[flag] for name, flag in HAS_NUMBERS.items()}
    arrays = {name: np.zeros(problem["b"] * problem["h_q"], np.float32) for name, has in numbers.items() if has}
    columns = np.array(lengths, np.int32).reshape(-1, 2)
    if tiling["has_cu_seqlens"]:
        starts = np.vstack([np.zeros((1, 2), np.int32), columns.cumsum(axis=0, dtype=np.int32)])
        arrays |= {"cu_seqlens_q": starts[:, 0].copy(), "cu_seqlens_k": starts[:, 1].copy()}
    if tiling["has_seq_used_kv"]:
        arrays["seqused_k"] = columns[:, 1].copy()
    return arrays


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
    lengths: Sequence[tuple[int, int]] = (),
) -> dict[str, Any]:
    """The simulator's report for a plan of `problem` (op_host's words, as in core().plan); with `events` also the
    timeline of all core groups, which may have so many events. lengths: (queries, keys) of each batch entry, where they
    are known on the device only (packed sequences, seqused_k)."""
    arrays = steering_arrays(problem, plan["tiling"], lengths)
    operands = fake_operands(operand_bytes(problem, plan["tiling"], lengths))
    operands |= {name: (array.ctypes.data, array.nbytes) for name, array in arrays.items()}
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
