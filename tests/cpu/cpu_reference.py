"""Attention in plain torch, in float64 for the truth and in the inputs' dtype for the tolerance. BSND only.

Written independently of the kernel: it builds the whole score matrix and hides keys with a boolean matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

FLOOR = 1e-5  # absolute, beside twice the same-precision error


@dataclass(frozen=True)
class Options:
    causal: bool = False
    window_left: int = -1
    window_right: int = -1
    softcap: float = 0.0
    scale: float | None = None


def visible(s_q: int, s_kv: int, o: Options) -> torch.Tensor:
    """(s_q, s_kv) bool, aligned bottom-right."""
    distance = torch.arange(s_kv)[None, :] - (torch.arange(s_q)[:, None] + s_kv - s_q)
    right = 0 if o.causal else o.window_right
    seen = torch.ones(s_q, s_kv, dtype=torch.bool)
    if right >= 0:
        seen &= distance <= right
    if o.window_left >= 0:
        seen &= distance >= -o.window_left
    return seen


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    o: Options,
    dtype: torch.dtype,
    alibi: torch.Tensor | None = None,
    sinks: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One batch: q (b, s_q, h_q, d), k, v (b, s_kv, h_kv, d). Products in `dtype`, softmax in at least float32."""
    group = q.shape[2] // k.shape[2]
    s_q, s_kv = q.shape[1], k.shape[1]
    qh = q.to(dtype).transpose(1, 2)
    kh = k.to(dtype).transpose(1, 2).repeat_interleave(group, 1)
    vh = v.to(dtype).transpose(1, 2).repeat_interleave(group, 1)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    scale = q.shape[-1] ** -0.5 if o.scale is None else o.scale
    s = (qh @ kh.transpose(-1, -2)).to(wide) * scale
    if o.softcap > 0:
        s = o.softcap * torch.tanh(s / o.softcap)
    if alibi is not None:
        distance = (torch.arange(s_kv)[None, :] - (torch.arange(s_q)[:, None] + s_kv - s_q)).abs()
        s = s - alibi.to(wide).reshape(-1, q.shape[2], 1, 1) * distance
    seen = visible(s_q, s_kv, o).expand(s.shape)
    if mask is not None:
        if mask.dtype == torch.bool:
            seen = seen & mask
        else:
            s = s + mask.to(wide)
    s = s.masked_fill(~seen, -torch.inf)
    if sinks is not None:
        s = torch.cat([s, sinks.to(wide).reshape(1, -1, 1, 1).expand(s.shape[0], -1, s_q, 1)], -1)
    lse = torch.logsumexp(s, -1)
    p = torch.exp(s - torch.where(lse == -torch.inf, torch.zeros_like(lse), lse)[..., None])[..., :s_kv]
    # A hidden key takes no part at all: neither its NaN nor its infinity may surface as 0 * v.
    clean = torch.where(seen.any(-2)[..., None], vh, torch.zeros_like(vh))
    return (p.to(dtype) @ clean).transpose(1, 2), lse


def error(x: torch.Tensor, truth: torch.Tensor) -> float:
    """Largest absolute difference; infinite where NaN or infinity do not match."""
    if x.shape != truth.shape:
        return float("inf")
    a, b = x.double(), truth.double()
    special = ~torch.isfinite(b) | ~torch.isfinite(a)
    same = torch.where(torch.isnan(b), torch.isnan(a), a == b)
    if not bool(same[special].all()):
        return float("inf")
    return float((a - b)[~special].abs().max()) if bool((~special).any()) else 0.0


def check(
    got: tuple[torch.Tensor, torch.Tensor | None],
    truth: tuple[torch.Tensor, torch.Tensor],
    same_precision: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """Twice the same-precision error plus the floor, for O and for lse."""
    for name, x, t, s in zip(("o", "lse"), got, truth, same_precision, strict=True):
        if x is None:
            continue
        limit = 2 * error(s.to(x.dtype), t) + FLOOR
        found = error(x, t)
        assert found <= limit, f"{name}: error {found:.3g}, limit {limit:.3g}"
