"""The fused attention, projection and AllReduce kernel on small shapes, for the mutation benchmark: every rank's result
against float64."""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._native import core
from ..soc_config import load_soc
from .kernel_cases import SMALL_TILING, SOC, Verdict, compare, fingerprint, kind_of_error

KERNEL = "attention_linear_allreduce"
TOLERANCE = 2e-2  # fp16: P, O, the projections and every sum over ranks are rounded at |out| < 8
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

    def __str__(self) -> str:
        text = f"fused ranks{self.ranks} b{self.b} h{self.h_q}/{self.h_kv} s{self.tokens}x{self.s_kv} d{self.d}"
        text += f" hidden{self.hidden} blocks{list(self.blocks)} tiles{self.tiles_per_step}"
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
            wrong = compare(f"out of rank {rank}", out, expected, TOLERANCE)
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
        name: np.full((case.tokens, columns), np.nan, np.float16) for name, columns in shapes.items()
    }
    return arrays | {"lse": np.full(case.tokens * case.h_q, np.nan, np.float32)}


@cache
def _prepare(case: FusedCase) -> tuple[list[dict[str, Any]], list[dict[str, Any]], npt.NDArray[np.float64]]:
    """Plans and inputs of every rank, and the sum over them."""
    rng = np.random.default_rng(0)
    s_q = case.tokens // case.b
    s_kv = case.s_kv or s_q
    sizes = {"b": case.b, "s_q": s_q, "s_kv": s_kv, "h_q": case.h_q, "h_kv": case.h_kv, "d": case.d}
    problem = sizes | {"dtype": "fp16", "causal": case.causal}
    width = case.h_q * case.d
    plans, ranks = [], []
    total = np.zeros((case.tokens, case.hidden))
    for rank in range(case.ranks):
        fused: dict[str, Any] = {"hidden": case.hidden, "ranks": case.ranks, "has_bias": case.bias and rank == 0}
        fused |= {"blocks": list(case.blocks), "tiles_per_step": case.tiles_per_step}
        plan = core().plan_fused(problem, fused, _soc(), dict(TILING))
        q = rng.standard_normal((case.b, s_q, case.h_q, case.d)).astype(np.float16)
        k, v = (rng.standard_normal((case.b, s_kv, case.h_kv, case.d)).astype(np.float16) for _ in "kv")
        weight = (rng.standard_normal((case.hidden, width)) / math.sqrt(width)).astype(np.float16)
        bias = np.concatenate([rng.standard_normal(case.hidden), np.ones(plan["block_q"])]).astype(np.float16)
        plans.append(plan)
        ranks.append({"q": q, "k": k, "v": v, "weight": weight, "bias": bias})
        total += _attention(q, k, v, case) @ weight.astype(np.float64).T
        total += bias[: case.hidden].astype(np.float64) * bool(fused["has_bias"])
    return plans, ranks, total


def _attention(q: Any, k: Any, v: Any, case: FusedCase) -> npt.NDArray[np.float64]:
    """(tokens, h * d) in float64."""
    groups = case.h_q // case.h_kv
    q, k, v = (x.astype(np.float64).transpose(0, 2, 1, 3) for x in (q, k, v))
    scores = q @ k.repeat(groups, axis=1).swapaxes(-1, -2) / math.sqrt(case.d)
    row, col = np.ogrid[: q.shape[2], : k.shape[2]]
    if case.causal:
        scores = np.where(col <= row + k.shape[2] - q.shape[2], scores, -np.inf)
    top = scores.max(axis=-1, keepdims=True)
    p = np.exp(scores - np.where(np.isfinite(top), top, 0))
    total = p.sum(axis=-1, keepdims=True)
    p = np.divide(p, total, out=np.zeros_like(p), where=total > 0)
    return (p @ v.repeat(groups, axis=1)).transpose(0, 2, 1, 3).reshape(case.tokens, -1)


FUSED_CASES = (
    FusedCase(2, 100, (32, 32, 36)),
    FusedCase(2, 100, (1, 64, 35), causal=False, h_kv=2),
    FusedCase(2, 90, (20, 20, 20, 30), hidden=200, tiles_per_step=2),
    FusedCase(2, 80, (30, 50), b=2, d=40, bias=False),
    FusedCase(2, 300, (100, 200), s_kv=40, h_q=1),  # tokens that see no key
    FusedCase(3, 3, (1, 1, 1), h_q=1, hidden=16),  # core groups without tasks
)
