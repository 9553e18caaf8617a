"""Runs a build of the attention kernel on small shapes of the simulated SoC and says how a fault in it comes to light.

The reference is float64 attention in numpy: no torch, so that worker processes start fast.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._native import core
from ..soc_config import load_soc

SOC = "ascend910b2"
# A tiling so small that a few hundred keys pass every ring several times.
SMALL_TILING = {
    "block_q": 32,
    "block_kv": 256,
    "ring": 3,
    "preload": 2,
    "l1_tile_kv": 128,
    "l0_tile_kv": 64,
    "strip_rows": 8,
    "mask_block": 256,
    "block_dim": 1,
}
# Largest error of a right result: fp16 rounding of P and O at |O| < 4, and fp32 sums for lse.
O_TOLERANCE = 6e-3
LSE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Case:
    """One shape, its tiling overrides, and the keys in use of each batch entry where they differ."""

    s_q: int
    s_kv: int
    d: int = 16
    h_q: int = 1
    h_kv: int = 1
    b: int = 1
    causal: bool = False
    used: tuple[int, ...] = ()
    tiling: Mapping[str, int] = field(default_factory=lambda: SMALL_TILING)

    def __str__(self) -> str:
        text = f"b{self.b} h{self.h_q}/{self.h_kv} s{self.s_q}x{self.s_kv} d{self.d}"
        text += " causal" if self.causal else ""
        text += f" used{list(self.used)}" if self.used else ""
        changed = {key: value for key, value in self.tiling.items() if SMALL_TILING.get(key) != value}
        return text + "".join(f" {key}={value}" for key, value in changed.items())

    def __hash__(self) -> int:
        return hash(str(self))


@dataclass(frozen=True)
class Verdict:
    """How a run ended: `how` is 'clean' or the kind of evidence against the kernel."""

    how: str
    text: str = ""
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def caught(self) -> bool:
        return self.how != "clean"


@dataclass(frozen=True)
class Prepared:
    """A case's operands, plan and expected results."""

    inputs: dict[str, npt.NDArray[Any]]
    plan: dict[str, Any]
    soc: dict[str, Any]
    o: npt.NDArray[np.float64]
    lse: npt.NDArray[np.float64]


def _reference(
    q: npt.NDArray[Any], k: npt.NDArray[Any], v: npt.NDArray[Any], case: Case
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    group = case.h_q // case.h_kv
    Q, K, V = (x.astype(np.float64).transpose(0, 2, 1, 3) for x in (q, k, v))
    S = Q @ K.repeat(group, axis=1).swapaxes(-1, -2) / math.sqrt(case.d)
    row, col = np.ogrid[: case.s_q, : case.s_kv]
    for i, used in enumerate(case.used or [case.s_kv] * case.b):
        visible = col < used
        if case.causal:
            visible = visible & (col <= row + used - case.s_q)
        S[i][:, ~np.broadcast_to(visible, S.shape[-2:])] = -np.inf
    top = S.max(axis=-1, keepdims=True)
    P = np.exp(S - np.where(np.isfinite(top), top, 0))
    total = P.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore"):
        lse = (np.where(np.isfinite(top), top, 0) + np.log(total))[..., 0]
    P = np.divide(P, total, out=np.zeros_like(P), where=total > 0)
    return (P @ V.repeat(group, axis=1)).transpose(0, 2, 1, 3), lse


@lru_cache(maxsize=64)
def prepare(case: Case) -> Prepared:
    rng = np.random.default_rng(0)
    q = rng.standard_normal((case.b, case.s_q, case.h_q, case.d)) * 2  # scores that move the row maximum
    k, v = (rng.standard_normal((case.b, case.s_kv, case.h_kv, case.d)) for _ in range(2))
    inputs: dict[str, Any] = {"q": q.astype(np.float16), "k": k.astype(np.float16), "v": v.astype(np.float16)}
    if case.used:
        inputs["seqused_k"] = np.array(case.used, np.int32)
    soc = load_soc(SOC).values()
    problem = {key: getattr(case, key) for key in ("b", "s_q", "s_kv", "h_q", "h_kv", "d", "causal")}
    problem |= {"dtype": "fp16", "has_seq_used_kv": bool(case.used)}
    plan = core().plan(problem, soc, dict(case.tiling))
    inputs["mask"] = np.ascontiguousarray(core().m_mask(plan["tiling"]["mask_block"]))
    o, lse = _reference(inputs["q"], inputs["k"], inputs["v"], case)
    return Prepared(inputs, plan, soc, o, lse)


def kind_of_error(text: str) -> str:
    """The kind of evidence behind a refusal of the simulator."""
    if "deadlock" in text:
        return "deadlock"
    if "nobody has written" in text:
        return "poison"
    if "set twice" in text or "still set at kernel exit" in text or "sets left" in text or "sets without" in text:
        return "flag rule"
    return "refusal"


def _compare(name: str, got: npt.NDArray[Any], expected: npt.NDArray[Any], tolerance: float) -> Verdict | None:
    if np.isnan(got).any():
        return Verdict("poison", f"{name} has {int(np.isnan(got).sum())} elements that are NaN or were never written")
    with np.errstate(invalid="ignore"):
        error = np.where(got == expected, 0, np.abs(got.astype(np.float64) - expected)).max()
    if error > tolerance:
        return Verdict("wrong result", f"{name} is off by {error:.3g}, more than {tolerance:g}")
    return None


def run_case(case: Case, library: str | Path = "", checks: bool = True) -> Verdict:
    """Runs the kernel of `library` (the package's own if empty) on one case."""
    prepared = prepare(case)
    o = np.full(prepared.o.shape, np.nan, np.float16)
    lse = np.full(prepared.lse.shape, np.nan, np.float32)
    arrays = prepared.inputs | {"o": o, "lse": lse}
    operands = {name: (array.ctypes.data, array.nbytes) for name, array in arrays.items()}
    options = {"threads": 1, "checks": checks, "kernel_library": str(library)}
    plan = prepared.plan
    try:
        report = core().simulate_flash_attention(
            prepared.soc, plan["tiling_bytes"], plan["block_dim"], operands, plan["workspace_bytes"], options
        )
    except core().SimulatorError as error:
        return Verdict(kind_of_error(str(error)), str(error))
    if report["hazards"]:
        return Verdict("hazard", report["hazard_texts"][0], report)
    wrong = _compare("o", o, prepared.o, O_TOLERANCE) or _compare("lse", lse, prepared.lse, LSE_TOLERANCE)
    return wrong or Verdict("clean", "", report | {"o": o.tobytes(), "lse": lse.tobytes()})
