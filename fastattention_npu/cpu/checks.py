"""What the CPU kernel accepts. A refusal lists every reason at once: name, value received, limit, remedy."""

from __future__ import annotations

from collections.abc import Sequence

import torch

DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, torch.bool: 3}
MAX_HEAD_DIM = 256
PAGE_STEP_TOKENS = 16


class Reasons:
    """Collects refusals and raises them as one ValueError."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.reasons: list[str] = []

    def check(self, good: bool, reason: str) -> bool:
        if not good:
            self.reasons.append(reason)
        return good

    def raise_if_any(self) -> None:
        if self.reasons:
            raise ValueError(f"{self.where}: " + "; ".join(self.reasons))


def check_index(reasons: Reasons, name: str, x: torch.Tensor | None, shape: Sequence[int | None]) -> None:
    """An int32 tensor on the CPU with the given shape (None: any size), contiguous in its last dimension."""
    if x is None:
        return
    fits = x.dim() == len(shape) and all(w is None or w == n for w, n in zip(shape, x.shape, strict=True))
    wanted = tuple("any" if w is None else w for w in shape)
    reasons.check(fits, f"{name} has shape {tuple(x.shape)}, must be {wanted}")
    reasons.check(x.dtype == torch.int32, f"{name} is {x.dtype}, must be int32: convert it with .int()")
    reasons.check(x.device.type == "cpu", f"{name} is on {x.device}, must be on the CPU")
    reasons.check(x.dim() == 0 or x.stride(-1) == 1 or x.shape[-1] <= 1, f"{name} must be contiguous")


def check_floats(reasons: Reasons, name: str, x: torch.Tensor | None, shapes: Sequence[tuple[int, ...]]) -> None:
    """A float32 tensor on the CPU with one of the shapes, contiguous."""
    if x is None:
        return
    reasons.check(
        tuple(x.shape) in [tuple(s) for s in shapes],
        f"{name} has shape {tuple(x.shape)}, must be {' or '.join(str(tuple(s)) for s in shapes)}",
    )
    reasons.check(x.dtype == torch.float32, f"{name} is {x.dtype}, must be float32: convert it with .float()")
    reasons.check(x.device.type == "cpu", f"{name} is on {x.device}, must be on the CPU")
    reasons.check(x.is_contiguous(), f"{name} must be contiguous")


def check_heads(reasons: Reasons, h_q: int, h_kv: int, d_qk: int, d_k: int, d_v: int) -> None:
    reasons.check(h_kv > 0 and h_q % max(h_kv, 1) == 0, f"h_q = {h_q} must be a multiple of h_kv = {h_kv}")
    reasons.check(d_qk == d_k, f"d of q is {d_qk}, of k {d_k}: they must be equal")
    reasons.check(1 <= d_qk <= MAX_HEAD_DIM, f"d_qk = {d_qk}, must be 1..{MAX_HEAD_DIM}")
    reasons.check(1 <= d_v <= MAX_HEAD_DIM, f"d_v = {d_v}, must be 1..{MAX_HEAD_DIM}")


def check_types(reasons: Reasons, tensors: dict[str, torch.Tensor]) -> None:
    """q, k, v (and out): one of three dtypes, the same for all, on the CPU."""
    dtype = tensors["q"].dtype
    reasons.check(
        dtype in DTYPES and dtype != torch.bool, f"q is {dtype}, must be float32, float16 or bfloat16: convert it"
    )
    for name, x in tensors.items():
        reasons.check(x.dtype == dtype, f"{name} is {x.dtype}, q is {dtype}: they must be equal")
        reasons.check(x.device.type == "cpu", f"{name} is on {x.device}, must be on the CPU")
