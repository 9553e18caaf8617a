"""Argument checks of torch.ops.fastattn.flash_attention, shared by its fake and its real path.

Metadata only, so that both raise the same error: nothing here reads a tensor's values. Every reason is collected; rules
that need an earlier one to hold (a size of a tensor of the wrong rank) are left out when it does not.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import layouts, limits
from .errors import ArgumentError, Reason, did_you_mean

HEADLINE = "flash_attention cannot take these arguments"
DTYPE_NAMES = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}
TORCH_DTYPES = {name: dtype for dtype, name in DTYPE_NAMES.items()}
DEVICES = ("cpu",)  # device types with a kernel


@dataclass(frozen=True)
class Problem:
    """Checked sizes of a call (integers, or symbolic ones while tracing)."""

    b: int
    s_q: int
    s_kv: int
    h_q: int
    h_kv: int
    d: int
    layout: str


def check_arguments(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    softmax_scale: float | None,
    seqused_k: Tensor | None,
    layout: str,
    head_dim: int | None,
    backend: str,
) -> Problem:
    """The call's sizes; raises ArgumentError with every reason why `backend` cannot serve it."""
    tensors = {"q": q, "k": k, "v": v}
    reasons = [
        *_device_reasons(tensors, seqused_k),
        *_dtype_reasons(tensors, backend),
        *_scale_reasons(softmax_scale),
    ]
    name = limits.LAYOUTS.get(layout.lower())
    if name is None:
        nearest = did_you_mean(layout, limits.LAYOUTS, "name one of these, or permute the tensors")
        reasons.append(Reason("layout", repr(layout), f"one of {', '.join(limits.LAYOUTS)}", nearest))
        raise ArgumentError(HEADLINE, reasons)
    reasons += _tensor_reasons(tensors, name)
    ranks_hold = all(t.dim() == layouts.RANKS[name] for t in tensors.values())
    bad_head_dim = _head_dim_reasons(tensors, name, head_dim) if ranks_hold else []
    reasons += bad_head_dim
    if not ranks_hold or bad_head_dim:
        raise ArgumentError(HEADLINE, reasons)
    b, s_q, h_q, d = layouts.sizes_of(name, q.shape, head_dim)
    _, s_kv, h_kv, _ = layouts.sizes_of(name, k.shape, head_dim)
    problem = Problem(b, s_q, s_kv, h_q, h_kv, d, name)
    reasons += _shape_reasons(tensors, problem)
    reasons += _size_reasons(problem, backend)
    reasons += _seqused_reasons(seqused_k, problem)
    if reasons:
        raise ArgumentError(HEADLINE, reasons)
    return problem


def check_seqused_values(seqused_k: Tensor, s_kv: int) -> None:
    """Refuses counts outside 0 ... s_kv; for host tensors, where looking at them costs no synchronisation."""
    if seqused_k.numel() == 0:
        return
    low, high = (int(x) for x in torch.aminmax(seqused_k))
    if low < 0 or high > s_kv:
        received = low if low < 0 else high
        remedy = "count the valid keys of each batch entry"
        raise ArgumentError(HEADLINE, [Reason("seqused_k value", received, f"0 to s_kv = {s_kv}", remedy)])


def _device_reasons(tensors: dict[str, Tensor], seqused_k: Tensor | None) -> list[Reason]:
    device = tensors["q"].device
    reasons = []
    if device.type not in (*DEVICES, "meta"):
        reasons.append(Reason("q.device", device, f"on one of: {', '.join(DEVICES)}", "move the tensors: q.cpu(), ..."))
    others = tensors if seqused_k is None else tensors | {"seqused_k": seqused_k}
    reasons += [
        Reason(f"{name}.device", tensor.device, f"that of q, {device}", f"use {name}.to(q.device)")
        for name, tensor in others.items()
        if tensor.device != device
    ]
    return reasons


def _dtype_reasons(tensors: dict[str, Tensor], backend: str) -> list[Reason]:
    q = tensors["q"]
    names = limits.BACKEND_DTYPES[backend]
    reasons = []
    if DTYPE_NAMES.get(q.dtype) not in names:
        limit = f"one of {', '.join(names)} on backend {backend}"
        reasons.append(Reason("q.dtype", q.dtype, limit, f"cast q, k and v to {TORCH_DTYPES[names[0]]}"))
    reasons += [
        Reason(f"{name}.dtype", tensor.dtype, f"that of q, {q.dtype}", f"use {name}.to(q.dtype)")
        for name, tensor in tensors.items()
        if tensor.dtype != q.dtype
    ]
    return reasons


def _scale_reasons(softmax_scale: float | None) -> list[Reason]:
    # A symbolic float is no float; it is checked when the operator runs.
    if not isinstance(softmax_scale, (int, float)) or math.isfinite(softmax_scale):
        return []
    return [Reason("softmax_scale", softmax_scale, "a finite number", "leave it out for 1 / sqrt(d)")]


def _tensor_reasons(tensors: dict[str, Tensor], layout: str) -> list[Reason]:
    """Rank and last stride of each tensor by itself."""
    reasons = []
    rank = layouts.RANKS[layout]
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided:
            reasons.append(Reason(f"{name}.layout", tensor.layout, "strided", f"use {name}.to_dense()"))
        elif tensor.dim() != rank:
            limit = f"{rank} for layout {layout}, {layouts.DIMS[layout]}"
            reasons.append(Reason(f"{name}.dim()", tensor.dim(), limit, f"reshape {name} or name its layout"))
        elif tensor.size(-1) > 1 and tensor.stride(-1) != 1:
            limit = "1 (elements of a head lie side by side)"
            reasons.append(Reason(f"{name}.stride(-1)", tensor.stride(-1), limit, f"use {name}.contiguous()"))
    return reasons


def _head_dim_reasons(tensors: dict[str, Tensor], layout: str, head_dim: int | None) -> list[Reason]:
    """bsh needs the head dimension; the other layouts have it in the last dimension."""
    if layout != "bsh":
        d = tensors["q"].size(-1)
        if head_dim is None or head_dim == d:
            return []
        return [Reason("head_dim", head_dim, f"q.size(-1) = {d} for layout {layout}", "leave head_dim out")]
    if head_dim is None or head_dim < 1:
        return [Reason("head_dim", head_dim, "at least 1 for layout bsh", "pass the head dimension d")]
    return [
        Reason(f"{name}.size(-1)", tensor.size(-1), f"a multiple of head_dim = {head_dim}", "correct head_dim")
        for name, tensor in tensors.items()
        if tensor.size(-1) % head_dim != 0
    ]


def _shape_reasons(tensors: dict[str, Tensor], p: Problem) -> list[Reason]:
    """k and v against q and each other."""
    expected = layouts.shape_of(p.layout, p.b, p.s_kv, p.h_kv, p.d)
    reasons = []
    for name in ("k", "v"):
        shape = tuple(tensors[name].shape)
        if shape != expected:
            limit = f"{expected}, {layouts.DIMS[p.layout]} with b and d of q, s_kv and h_kv of k"
            reasons.append(Reason(f"{name}.shape", shape, limit, f"correct the shape of {name}"))
    if p.h_kv != 0 and p.h_q % p.h_kv != 0:
        limit = f"a multiple of h_kv = {p.h_kv}"
        reasons.append(Reason("h_q", p.h_q, limit, "repeat or drop key heads until h_kv divides h_q"))
    return reasons


def _size_reasons(p: Problem, backend: str) -> list[Reason]:
    reasons = []
    for name, limit in limits.OPERATOR.items():
        size: Any = getattr(p, name)
        bad = limit.check(size)
        if not bad and backend != "cpu" and size != 0:
            bad = limits.kernel_limits()[name].check(size)
        reasons += bad
    return reasons


def _seqused_reasons(seqused_k: Tensor | None, p: Problem) -> list[Reason]:
    if seqused_k is None:
        return []
    reasons = []
    if seqused_k.dtype != torch.int32:
        remedy = "use seqused_k.to(torch.int32)"
        reasons.append(Reason("seqused_k.dtype", seqused_k.dtype, "torch.int32", remedy))
    if tuple(seqused_k.shape) != (p.b,):
        remedy = "give one count a batch entry"
        reasons.append(Reason("seqused_k.shape", tuple(seqused_k.shape), f"(b,) = ({p.b},)", remedy))
    elif not seqused_k.is_contiguous():
        reasons.append(Reason("seqused_k", "not contiguous", "contiguous", "use seqused_k.contiguous()"))
    return reasons
