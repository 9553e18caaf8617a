"""The fused attention, projection and AllReduce kernel on small shapes, for the mutation benchmark: every rank's result
against float64."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._native import core
from ..soc_config import load_soc
from .kernel_cases import SMALL_TILING, SOC, Verdict, compare, fingerprint, kind_of_error
from .kernel_reference import from_bits, to_bits

KERNEL = "attention_linear_allreduce"
# P, O, the projections and every sum over ranks are rounded at |out| < 8.
TOLERANCE = {"fp16": 2e-2, "bf16": 1.5e-1}
TILING = {**SMALL_TILING, "block_dim": 2}


@dataclass(frozen=True)
class FusedCase:
    ranks: int
    tokens: int
    blocks: tuple[int, ...]
    h_q: int = 2
    h_kv: int = 1
    d: int = 16
    hidden: int = 72
    b: int = 1
    causal: bool = True
    bias: bool = True
    s_kv: int = 0  # 0: tokens / b
    tiles_per_step: int = 1
    dtype: str = "fp16"
    lens: tuple[int, ...] = ()  # tokens of packed sequences, queries and keys alike; tokens is then their sum

    def __str__(self) -> str:
        text = f"fused ranks{self.ranks} b{self.b} h{self.h_q}/{self.h_kv} s{self.tokens}x{self.s_kv} d{self.d}"
        text += f" hidden{self.hidden} blocks{list(self.blocks)} tiles{self.tiles_per_step}"
        text += f" {self.dtype}" + f" lens{list(self.lens)}" * bool(self.lens)
        return text + " causal" * self.causal + " bias" * self.bias

    def run(self, library: str | Path = "", checks: bool = True, trace: bool = False) -> Verdict:
        plans, ranks, expected = _prepare(self)
        outs = []
        operands = []
        keep = []
        for plan, inputs in zip(plans, ranks, strict=True):
            arrays = inputs | _outputs(self)
            arrays["mask"] = np.ascontiguousarray(core().device_constants(plan["mask_block"], plan["mask"]))
            keep.append(arrays)
            outs.append(arrays["out"])
            operands.append({name: (x.ctypes.data, x.nbytes) for name, x in arrays.items()})
        options: dict[str, Any] = {"threads": 1, "checks": checks, "kernel_library": str(library)}
        options |= {"listing": True} if trace else {}
        first = plans[0]
        tilings = [plan["tiling_bytes"] for plan in plans]
        call = (KERNEL, _soc(), tilings, first["block_dim"], operands, first["workspace_bytes"], options, self.ranks)
        try:
            figures = core().simulate_ranks(*call)
        except core().SimulatorError as error:
            return Verdict(kind_of_error(str(error)), str(error))
        hazards = [text for report in figures["reports"] for text in report["hazard_texts"]]
        if hazards:
            return Verdict("hazard", hazards[0])
        for rank, out in enumerate(outs):
            values = from_bits(out, self.dtype)
            wrong = compare(f"out of rank {rank}", values, expected, TOLERANCE[self.dtype])
            if wrong:
                return wrong
        report = figures["reports"][0] | ({"listing": figures["listing"]} if trace else {})
        return Verdict("clean", "", fingerprint(outs, report))


@cache
def _soc() -> dict[str, Any]:
    return load_soc(SOC).values()


def _outputs(case: FusedCase) -> dict[str, npt.NDArray[Any]]:
    shapes = {"attention": case.h_q * case.d, "partial": case.hidden, "out": case.hidden}
    arrays: dict[str, npt.NDArray[Any]] = {
        name: to_bits(np.full((case.tokens, columns), np.nan), case.dtype) for name, columns in shapes.items()
    }
    return arrays | {"lse": np.full(case.tokens * case.h_q, np.nan, np.float32)}


@cache
def _prepare(case: FusedCase) -> tuple[list[dict[str, Any]], list[dict[str, Any]], npt.NDArray[np.float64]]:
    """Plans and inputs of every rank, and the sum over them."""
    rng = np.random.default_rng(0)
    b = len(case.lens) or case.b
    s_q = max(case.lens) if case.lens else case.tokens // case.b
    s_kv = case.s_kv or s_q
    sizes = {"b": b, "s_q": s_q, "s_kv": s_kv, "h_q": case.h_q, "h_kv": case.h_kv, "d": case.d}
    problem = sizes | {"dtype": case.dtype, "causal": case.causal}
    starts = np.cumsum([0, *case.lens], dtype=np.int32)
    packed: dict[str, Any] = {"cu_seqlens_q": starts, "cu_seqlens_k": starts} if case.lens else {}
    if case.lens:
        problem |= {"has_cu_seqlens": True, "total_q": case.tokens, "layout": "TND"}
    width = case.h_q * case.d
    keys = case.tokens if case.lens else b * s_kv
    plans, ranks = [], []
    total = np.zeros((case.tokens, case.hidden))

    def draw(*shape: int, scale: float = 1.0) -> npt.NDArray[Any]:
        return to_bits(rng.standard_normal(shape) * scale, case.dtype)

    for rank in range(case.ranks):
        fused: dict[str, Any] = {"hidden": case.hidden, "ranks": case.ranks, "has_bias": case.bias and rank == 0}
        fused |= {"blocks": list(case.blocks), "tiles_per_step": case.tiles_per_step}
        plan = core().plan_fused(problem, fused, _soc(), dict(TILING))
        q = draw(case.tokens, case.h_q, case.d)
        k, v = (draw(keys, case.h_kv, case.d) for _ in "kv")
        weight = draw(case.hidden, width, scale=1 / math.sqrt(width))
        ones = to_bits(np.ones(plan["block_q"]), case.dtype)
        bias = np.concatenate([draw(case.hidden), ones])
        plans.append(plan)
        ranks.append({"q": q, "k": k, "v": v, "weight": weight, "bias": bias} | packed)
        total += _attention(q, k, v, case) @ from_bits(weight, case.dtype).T
        total += from_bits(bias[: case.hidden], case.dtype) * bool(fused["has_bias"])
    return plans, ranks, total


def _attention(q: Any, k: Any, v: Any, case: FusedCase) -> npt.NDArray[np.float64]:
    """(tokens, h * d) in float64, sequence by sequence."""
    groups = case.h_q // case.h_kv
    q, k, v = (from_bits(x, case.dtype).transpose(1, 0, 2) for x in (q, k, v))  # (h, tokens, d)
    k, v = (x.repeat(groups, axis=0) for x in (k, v))
    count = len(case.lens) or case.b
    ends_q = np.cumsum(case.lens or [q.shape[1] // count] * count)
    ends_k = np.cumsum(case.lens or [k.shape[1] // count] * count)
    out = np.zeros_like(q)
    for i in range(count):
        rows = slice(ends_q[i - 1] if i else 0, ends_q[i])
        keys = slice(ends_k[i - 1] if i else 0, ends_k[i])
        scores = q[:, rows] @ k[:, keys].swapaxes(-1, -2) / math.sqrt(case.d)
        row, col = np.ogrid[: scores.shape[1], : scores.shape[2]]
        if case.causal:
            scores = np.where(col <= row + scores.shape[2] - scores.shape[1], scores, -np.inf)
        top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
        p = np.exp(scores - np.where(np.isfinite(top), top, 0))
        total = p.sum(axis=-1, keepdims=True)
        out[:, rows] = np.divide(p, total, out=np.zeros_like(p), where=total > 0) @ v[:, keys]
    return out.transpose(1, 0, 2).reshape(case.tokens, -1)


FUSED_CASES = (
    FusedCase(2, 100, (32, 32, 36)),
    FusedCase(2, 100, (1, 64, 35), causal=False, h_kv=2),
    FusedCase(2, 90, (20, 20, 20, 30), hidden=200, tiles_per_step=2),
    FusedCase(2, 80, (30, 50), b=2, d=40, bias=False),
    FusedCase(2, 300, (100, 200), s_kv=40, h_q=1),  # tokens that see no key
    FusedCase(3, 3, (1, 1, 1), h_q=1, hidden=16),  # core groups without tasks
    FusedCase(2, 90, (30, 30, 30), dtype="bf16"),
    FusedCase(2, 100, (40, 60), lens=(33, 0, 50, 17)),
    FusedCase(2, 100, (24, 24, 24, 28), lens=(100,), hidden=300, h_q=4),
)


def bounded_fused_cases() -> Iterator[FusedCase]:
    """Numbers of tokens and of blocks, of one rank and of several; wide and narrow projections; both masks."""
    for causal in (False, True):
        for tokens in (1, 15, 33, 64, 65, 130):
            for parts in (1, 2, 3, 5):
                size = -(-tokens // parts)
                blocks = [size] * (tokens // size) + ([tokens % size] if tokens % size else [])
                for ranks, hidden in ((1, 16), (2, 300)):
                    yield FusedCase(ranks, tokens, tuple(blocks), hidden=hidden, causal=causal)
        for steps in (1, 2, 5):
            yield FusedCase(2, 200, (60, 60, 80), h_q=4, tiles_per_step=steps, hidden=400, causal=causal)
            yield FusedCase(2, 90, (30, 60), lens=(20, 0, 1, 69), tiles_per_step=steps, causal=causal)
