"""Float64 attention in numpy for the kernel's cases (kernel_cases.py), and the bits of 16-bit numbers.

No torch, so that worker processes start fast.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def to_bits(x: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """fp16, or the bits of bf16 as uint16, rounded to nearest even."""
    if dtype == "fp16":
        return x.astype(np.float16)
    bits = x.astype(np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + (bits >> 16 & 1)
    return (np.where(np.isnan(x), bits, rounded) >> 16).astype(np.uint16)


def from_bits(x: npt.NDArray[Any], dtype: str) -> npt.NDArray[np.float64]:
    """The values of to_bits()."""
    if dtype == "fp16":
        return x.astype(np.float64)
    return (x.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def _scores(Q: npt.NDArray[Any], K: npt.NDArray[Any], case: Any, extras: Mapping[str, Any], used: int) -> Any:
    """Scores (h, s_q, s_kv) with everything that changes them; hidden ones -inf."""
    S = Q @ K.repeat(case.h_q // case.h_kv, axis=0).swapaxes(-1, -2) / math.sqrt(case.d)
    if case.softcap:
        S = case.softcap * np.tanh(S / case.softcap)
    row, col = np.ogrid[: Q.shape[1], : K.shape[1]]
    distance = col - (row + used - Q.shape[1])
    if case.alibi:
        S = S - extras["alibi_slopes"].astype(np.float64)[:, None, None] * np.abs(distance)
    if "attn_mask" in extras:
        S = S + extras["attn_mask"]
    left, right = case.window
    right = 0 if case.causal else right
    visible = (col < used) & ((right < 0) | (distance <= right)) & ((left < 0) | (distance >= -left))
    S[:, ~np.broadcast_to(visible, S.shape[-2:])] = -np.inf
    return S


def _one(q: Any, k: Any, v: Any, case: Any, extras: Mapping[str, Any], used: int) -> tuple[Any, Any]:
    """O (s_q, h, d_v) and lse (h, s_q) of one sequence."""
    Q, K, V = (x.astype(np.float64).transpose(1, 0, 2) for x in (q, k, v))
    S = _scores(Q, K, case, extras, used)
    if case.sinks:
        sink = np.broadcast_to(extras["sinks"].astype(np.float64)[:, None, None], (*S.shape[:2], 1))
        S = np.concatenate([S, sink], axis=-1)
    if S.shape[-1] == 0:
        return np.zeros((q.shape[0], case.h_q, v.shape[-1])), np.full((case.h_q, q.shape[0]), -np.inf)
    top = S.max(axis=-1, keepdims=True)
    P = np.exp(S - np.where(np.isfinite(top), top, 0))
    total = P.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore"):
        lse = (np.where(np.isfinite(top), top, 0) + np.log(total))[..., 0]
    P = np.divide(P, total, out=np.zeros_like(P), where=total > 0)[..., : K.shape[1]]
    return (P @ V.repeat(case.h_q // case.h_kv, axis=0)).transpose(1, 0, 2), lse


def addend(mask: npt.NDArray[Any], case: Any) -> npt.NDArray[Any]:
    """What a mask tensor adds to the scores."""
    if mask.dtype == bool:
        return np.where(mask, 0.0, -np.inf)
    return mask.astype(np.float64) if case.mask[0] == "fp32" else from_bits(mask, case.dtype)


def attention(inputs: Mapping[str, Any], case: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """O and lse of a case of kernel_cases.py, whose inputs are bits."""
    q, k, v = (from_bits(inputs[name], case.dtype) for name in "qkv")
    if case.lens:
        starts = [inputs[f"cu_seqlens_{x}"] for x in "qk"]
        parts = []
        for i, (_, keys) in enumerate(case.lens):
            Q, K = (slice(x[i], x[i + 1]) for x in starts)
            parts.append(_one(q[Q], k[K], v[K], case, inputs, keys))
        return np.concatenate([o for o, _ in parts]), np.concatenate([lse for _, lse in parts], axis=1)
    counts = [min(max(used, 0), case.s_kv) for used in case.used or [case.s_kv] * case.b]
    masks: list[dict[str, Any]] = [{} for _ in counts]
    if case.mask[0]:
        masks = [{"attn_mask": addend(mask, case)} for mask in inputs["attn_mask"]]
    results = [_one(q[i], k[i], v[i], case, {**inputs, **masks[i]}, used) for i, used in enumerate(counts)]
    return np.stack([o for o, _ in results]), np.stack([lse for _, lse in results])
