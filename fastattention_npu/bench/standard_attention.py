"""Standard attention on the simulator: S = Q Kᵀ, P = softmax(S), O = P V as three kernels that meet in GM.

The baseline of `fastattn bench prefill`. Operands are dense (batch · heads, s, d) matrices; S and P have the operands'
type, as PyTorch's unfused attention has them. The second and third launch find their operands in the L2 as far as they
fit, because the launch before has just written them.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._native import core
from ..errors import ArgumentError, Reason
from ..sim.timing import fake_operands, timing_options

KERNELS = ("standard_scores", "standard_softmax", "standard_output")
FIELDS_OF_MATMUL = (
    "m", "n", "k", "trans_b", "core_m", "core_n", "grid_m", "base_m", "base_n", "base_k", "step_a", "step_b",
)  # fmt: skip
BASE = 128  # rows and columns of a cube tile: two accumulators fit L0C
MAX_SEGMENT = 1024  # elements of a row that one vector instruction may stride over
ROW_BYTES = 256 + 32 + 4  # statistics of a row in UB


@dataclass(frozen=True)
class StandardTiling:
    """The tiling struct (op_kernel/standard_attention/tiling.h) and the core groups to launch."""

    packed: bytes
    block_dim: int


def _round_up(value: int, to: int) -> int:
    return -(-value // to) * to


def _split(rows: int, others: int, cores: int) -> int:
    """Rows of a core's rectangle: the choice that keeps the busiest core's work least, larger ones first."""
    rounds = {size: -(-others * -(-rows // size) // cores) * size for size in (128, 64, 48, 32, 16)}
    return min(rounds, key=lambda size: (rounds[size], -size))


def _matmul(m: int, n: int, k: int, trans_b: bool, heads: int, cores: int) -> dict[str, int]:
    base_n = min(BASE if trans_b else 256, _round_up(n, 16))
    base_k = min(64 if base_n > BASE else BASE, _round_up(k, 16))
    core_n = min(512, _round_up(n, 16)) if trans_b else _round_up(n, 16)
    core_m = _split(m, heads * -(-n // core_n), cores)
    return {
        "m": m, "n": n, "k": k, "trans_b": int(trans_b), "core_m": core_m, "core_n": core_n, "grid_m": -(-m // core_m),
        "base_m": min(BASE, core_m), "base_n": base_n, "base_k": base_k, "step_a": 2, "step_b": 2,
    }  # fmt: skip


def standard_tiling(problem: Mapping[str, Any], soc: Mapping[str, Any]) -> StandardTiling:
    """Raises ArgumentError with every reason for problems that the baseline does not cover."""
    heads, s_q, s_kv, d = problem["b"] * problem["h_q"], problem["s_q"], problem["s_kv"], problem["d"]
    causal, cores = bool(problem.get("causal")), int(soc["cores.aic"])
    segments = -(-s_kv // MAX_SEGMENT)
    segment = _round_up(-(-s_kv // segments), 64)
    row_bytes = segments * segment * 8 + segments * ROW_BYTES
    ub_bytes = int(soc["memory.ub_usable_bytes"] - soc["memory.ub_reserved_bytes"])
    reasons = []
    if problem["h_kv"] != problem["h_q"]:
        reasons.append(Reason("h_kv", problem["h_kv"], f"h_q = {problem['h_q']}", "repeat K and V for each query head"))
    if causal and s_q > s_kv:
        reasons.append(Reason("s_q", s_q, f"at most s_kv = {s_kv} with causal", "its rows without keys would be NaN"))
    if row_bytes > ub_bytes:
        reasons.append(Reason("s_kv", s_kv, f"a row of {ub_bytes} B in UB", "use at most 22528 keys"))
    if reasons:
        raise ArgumentError("standard attention cannot do this", reasons)
    rows = min(ub_bytes // row_bytes // 8 * 8, 64) if segments == 1 else 1
    scores = _matmul(s_q, s_kv, d, True, heads, cores)
    output = _matmul(s_q, d, s_kv, False, heads, cores)
    scale = problem.get("softmax_scale") or d**-0.5
    numbers = [*(scores[f] for f in FIELDS_OF_MATMUL), *(output[f] for f in FIELDS_OF_MATMUL)]
    numbers += [heads, cores, max(rows, 1), segments, segment, int(causal)]
    return StandardTiling(struct.pack(f"<{len(numbers)}If", *numbers, scale), cores)


def standard_attention(
    q: np.ndarray[Any, Any],
    k: np.ndarray[Any, Any],
    v: np.ndarray[Any, Any],
    soc: Mapping[str, Any],
    causal: bool,
    options: Mapping[str, Any] | None = None,
) -> tuple[np.ndarray[Any, Any], list[dict[str, Any]]]:
    """O and the three reports; q, k, v: (heads, s, d) fp16. Runs with arithmetic and, unless options say otherwise, all
    checks."""
    heads, s_q, d = q.shape
    problem = {"b": 1, "h_q": heads, "h_kv": heads, "s_q": s_q, "s_kv": k.shape[1], "d": d, "causal": causal}
    tiling = standard_tiling(problem, soc)
    scores, weights = (np.full((heads, s_q, k.shape[1]), np.nan, q.dtype) for _ in range(2))
    out = np.full_like(q, np.nan)
    reports = []
    for kernel, operands in zip(
        KERNELS, ({"q": q, "k": k, "s": scores}, {"s": scores, "p": weights}, {"p": weights, "v": v, "o": out}),
        strict=True,
    ):  # fmt: skip
        where = {name: (x.ctypes.data, x.nbytes) for name, x in operands.items()}
        reports.append(
            core().simulate(f"{kernel}_fp16", dict(soc), tiling.packed, tiling.block_dim, where, 0, {**(options or {})})
        )
    return out, reports


def standard_cycles(problem: Mapping[str, Any], soc: Mapping[str, Any]) -> list[float]:
    """Simulated cycles of the three launches, without arithmetic."""
    heads, s_q, s_kv, d = problem["b"] * problem["h_q"], problem["s_q"], problem["s_kv"], problem["d"]
    tiling = standard_tiling(problem, soc)
    sizes = {"q": heads * s_q * d * 2, "k": heads * s_kv * d * 2, "s": heads * s_q * s_kv * 2}
    sizes |= {"v": sizes["k"], "o": sizes["q"], "p": sizes["s"]}
    cycles = []
    for number, (kernel, names) in enumerate(zip(KERNELS, ("qks", "sp", "pvo"), strict=True)):
        operands = fake_operands({name: sizes[name] for name in names})
        options = timing_options(warm_l2=number > 0)
        dtype = problem.get("dtype", "fp16")
        report = core().simulate(f"{kernel}_{dtype}", dict(soc), tiling.packed, tiling.block_dim, operands, 0, options)
        cycles.append(float(report["cycles"]))
    return cycles
