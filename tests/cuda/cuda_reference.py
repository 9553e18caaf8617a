"""Attention written out in full: float64 is the truth, the same steps in the inputs' own precision give the tolerance.

Stage: checking. It shares no code with the package. The tolerance is FlashAttention's: twice the error of the
same-precision computation against float64, plus 1e-5.
"""

from __future__ import annotations

import dataclasses
import math

import torch

FLOOR = 1e-5


@dataclasses.dataclass(frozen=True)
class Case:
    """One attention problem; lengths lists the (s_q, s_kv) of a variable-length batch."""

    s_q: int = 128
    s_kv: int = 128
    d: int = 64
    b: int = 2
    h_q: int = 4
    h_kv: int = 4
    causal: bool = False
    window: tuple[int, int] = (-1, -1)
    softcap: float = 0.0
    alibi: bool = False
    scale: float | None = None
    layout: str = "bshd"
    lengths: tuple[tuple[int, int], ...] = ()
    used: tuple[int, ...] = ()

    @property
    def id(self) -> str:
        """For pytest."""
        parts = [f"{self.s_q}x{self.s_kv}", f"d{self.d}", f"b{self.b}", f"h{self.h_q}:{self.h_kv}"]
        parts += [name for name in ("causal", "alibi") if getattr(self, name)]
        parts += [f"win{self.window[0]},{self.window[1]}"] if self.window != (-1, -1) else []
        parts += [f"cap{self.softcap}"] if self.softcap else []
        parts += [f"scale{self.scale}"] if self.scale is not None else []
        parts += [f"varlen{len(self.lengths)}"] if self.lengths else []
        parts += ["used"] if self.used else []
        parts += [self.layout] if self.layout != "bshd" else []
        return "-".join(parts)


def alibi_slopes(h: int, device: torch.device) -> torch.Tensor:
    """The usual geometric slopes, (h,) float32."""
    return torch.tensor([2.0 ** (-8.0 * (i + 1) / h) for i in range(h)], device=device)


def visible(s_q: int, s_kv: int, causal: bool, window: tuple[int, int], device: torch.device) -> torch.Tensor:
    """(s_q, s_kv) bool, aligned at the bottom right."""
    left, right = window
    if causal:
        right = 0 if right < 0 else min(right, 0)
    i = torch.arange(s_q, device=device)[:, None] + s_kv - s_q
    j = torch.arange(s_kv, device=device)[None]
    mask = torch.ones(s_q, s_kv, dtype=torch.bool, device=device)
    if right >= 0:
        mask &= j <= i + right
    if left >= 0:
        mask &= j >= i - left
    return mask


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, case: Case, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """(out, lse) of q (s_q, h_q, d), k and v (s_kv, h_kv, d), computed in dtype; lse (h_q, s_q)."""
    s_q, s_kv = q.shape[0], k.shape[0]
    group = q.shape[1] // k.shape[1]
    q, k, v = (x.to(dtype).transpose(0, 1) for x in (q, k, v))
    k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
    scale = q.shape[-1] ** -0.5 if case.scale is None else case.scale
    s = torch.matmul(q * scale, k.transpose(1, 2))
    if case.softcap:
        s = case.softcap * torch.tanh(s / case.softcap)
    if case.alibi:
        i = torch.arange(s_q, device=q.device)[:, None] + s_kv - s_q
        distance = (i - torch.arange(s_kv, device=q.device)[None]).abs()
        s = s - (alibi_slopes(q.shape[0], q.device)[:, None, None] * distance).to(dtype)
    s = s.masked_fill(~visible(s_q, s_kv, case.causal, case.window, q.device), -math.inf)
    wide = s.to(torch.promote_types(dtype, torch.float32))
    lse = torch.logsumexp(wide, -1) if s_kv else torch.full((q.shape[0], s_q), -math.inf, device=q.device)
    weights = torch.nan_to_num(torch.exp(wide - lse[..., None]), nan=0.0).to(dtype)
    return torch.matmul(weights, v).transpose(0, 1), lse


def check(actual: torch.Tensor, exact: torch.Tensor, same_precision: torch.Tensor) -> tuple[float, float]:
    """(largest error, tolerance); a NaN in either place must stand in both."""
    actual, same_precision = actual.double(), same_precision.double()
    infinite = torch.isinf(exact)
    if not torch.equal(torch.isinf(actual), infinite) or torch.isnan(actual).any():
        return math.inf, 0.0
    actual, exact, same_precision = (x.masked_fill(infinite, 0.0) for x in (actual, exact, same_precision))
    if exact.numel() == 0:
        return 0.0, FLOOR
    tolerance = 2 * (same_precision - exact).abs().max().item() + FLOOR
    return (actual - exact).abs().max().item(), tolerance
