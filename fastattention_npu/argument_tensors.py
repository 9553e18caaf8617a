"""Checks of the option tensors of an attention call: shapes, dtypes, and which of them go together. Metadata only."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from . import limits
from .errors import Reason
from .options import Options

if TYPE_CHECKING:
    from .arguments import Problem

MASK_DTYPES = (torch.bool, torch.float32, torch.float16, torch.bfloat16)


def option_reasons(options: Options, p: "Problem") -> list[Reason]:
    """Index tensors, per-head numbers, and what excludes or needs what."""
    b, h_q = p.b, p.h_q
    index = {
        "seqused_k": ("(b,)", (b,)),
        "cu_seqlens_q": ("(b + 1,)", (b + 1,)),
        "cu_seqlens_k": ("(b + 1,)", (b + 1,)),
        "cache_batch_idx": ("(b,)", (b,)),
        "block_table": ("(b, pages)", (b, None)),
    }
    reasons = []
    for name, (text, shape) in index.items():
        reasons += _tensor_reasons(name, getattr(options, name), torch.int32, text, [shape])
    slopes = [(h_q,), (b, h_q)]
    reasons += _tensor_reasons("alibi_slopes", options.alibi_slopes, torch.float32, "(h_q,) or (b, h_q)", slopes)
    reasons += _tensor_reasons("sinks", options.sinks, torch.float32, "(h_q,)", [(h_q,)])
    return reasons + _joint_reasons(options, p) + _max_reasons(options, p)


def _tensor_reasons(
    name: str, tensor: Tensor | None, dtype: torch.dtype, text: str, shapes: list[tuple[Any, ...]]
) -> list[Reason]:
    if tensor is None:
        return []
    reasons = []
    if tensor.dtype != dtype:
        reasons.append(Reason(f"{name}.dtype", tensor.dtype, str(dtype), f"use {name}.to({dtype})"))
    if not any(_fits(tensor, shape) for shape in shapes):
        limit = f"{text} = {' or '.join(str(shape).replace('None', 'any') for shape in shapes)}"
        reasons.append(Reason(f"{name}.shape", tuple(tensor.shape), limit, f"correct the shape of {name}"))
    elif not tensor.is_contiguous():
        reasons.append(Reason(name, "not contiguous", "contiguous", f"use {name}.contiguous()"))
    return reasons


def _fits(tensor: Tensor, shape: tuple[Any, ...]) -> bool:
    same_rank = tensor.dim() == len(shape)
    return same_rank and all(want is None or want == size for want, size in zip(shape, tensor.shape, strict=True))


def _joint_reasons(options: Options, p: "Problem") -> list[Reason]:
    reasons = []
    cached = options.block_table is not None or options.cache_batch_idx is not None
    for name in ("cu_seqlens_q", "cu_seqlens_k"):
        if getattr(options, name) is not None and not p.packed:
            limit = f"left out with layout {p.layout}"
            reasons.append(Reason(name, limits.received(options, p, name), limit, "use layout tnd, or seqused_k"))
    if p.packed and not cached and options.cu_seqlens_k is None:
        reasons.append(Reason("cu_seqlens_k", None, "given for layout tnd", "pass where each sequence's keys start"))
    if cached and options.cu_seqlens_k is not None:
        received = limits.received(options, p, "cu_seqlens_k")
        remedy = "pass the keys in use as seqused_k"
        reasons.append(Reason("cu_seqlens_k", received, "left out with block_table and cache_batch_idx", remedy))
    if options.block_table is not None:
        reasons += limits.ARGUMENTS["page size"].check(p.page_size, "allocate the cache with such pages")
        if options.seqused_k is None:
            reasons.append(Reason("seqused_k", None, "given with block_table", "pass the keys in use, int32 (b)"))
        if options.cache_batch_idx is not None:
            received = limits.received(options, p, "cache_batch_idx")
            reasons.append(Reason("cache_batch_idx", received, "left out with block_table", "index the table instead"))
    return reasons


def _max_reasons(options: Options, p: "Problem") -> list[Reason]:
    reasons = []
    for name in ("max_seqlen_q", "max_seqlen_k"):
        value = getattr(options, name)
        if value is None:
            continue
        if not p.packed:
            reasons.append(Reason(name, value, f"left out with layout {p.layout}", "leave it out"))
        elif value < 0:
            reasons.append(Reason(name, value, "at least 0", "pass the length of the longest sequence"))
    return reasons


def mask_reasons(options: Options, p: "Problem", backend: str, dtype: torch.dtype) -> list[Reason]:
    mask = options.attn_mask
    if mask is None:
        return []
    reasons = []
    allowed = MASK_DTYPES if limits.TABLE[backend].any_mask_dtype else (torch.bool, torch.float32, dtype)
    if mask.dtype not in allowed:
        names = ", ".join(str(x).removeprefix("torch.") for x in dict.fromkeys(allowed))
        reasons.append(Reason("attn_mask.dtype", mask.dtype, f"one of {names}", f"use attn_mask.to({allowed[-1]})"))
    shape = (p.b, p.h_q, p.s_q, p.s_kv)
    if p.packed:
        remedy = "pad the sequences to one batch, or pass one at a time"
        reasons.append(
            Reason("attn_mask", f"a tensor of shape {tuple(mask.shape)}", "left out with layout tnd", remedy)
        )
    elif mask.dim() > 4 or any(m != 1 and m != n for m, n in zip(reversed(mask.shape), reversed(shape), strict=False)):
        limit = f"broadcastable to (b, h_q, s_q, s_kv) = {shape}"
        reasons.append(Reason("attn_mask.shape", tuple(mask.shape), limit, "correct the shape of attn_mask"))
    return reasons
