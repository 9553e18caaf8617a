"""Prefill on CUDA tensors: checks, layouts, and one launch.

Stage: tensors -> PrefillParams -> kernel. Shapes follow FlashAttention-2; cu_seqlens and seqused_k stay on the device.
"""

from __future__ import annotations

import dataclasses
import math

import torch

from ..errors import ArgumentError, Reason
from ..limits import Limit
from . import instances, launch
from .params import PrefillParams, Strides

SMALL_SHARE = 0.75  # of the multiprocessors: fewer blocks than that, and half-size ones are faster (run.py, 1K and 4K)
LOG2_E = math.log2(math.e)


@dataclasses.dataclass
class ForwardArguments:
    """Everything that flash attention's forward takes beside q, k and v."""

    softmax_scale: float | None = None
    causal: bool = False
    window_size: tuple[int, int] = (-1, -1)
    softcap: float = 0.0
    alibi_slopes: torch.Tensor | None = None
    cu_seqlens_q: torch.Tensor | None = None
    cu_seqlens_k: torch.Tensor | None = None
    max_seqlen_q: int | None = None
    max_seqlen_k: int | None = None
    seqused_k: torch.Tensor | None = None

    def window(self) -> tuple[int, int]:
        """(left, right) with causal folded in; -1 is unlimited."""
        left, right = self.window_size
        if self.causal:
            right = 0 if right < 0 else min(right, 0)
        return (max(left, -1), max(right, -1))


LAYOUTS = {"bshd": "bshd", "bsnd": "bshd", "bnsd": "bnsd", "bhsd": "bnsd", "bsh": "bsh", "tnd": "tnd"}


def to_rows(x: torch.Tensor, layout: str, head_dim: int | None = None) -> torch.Tensor:
    """A (b, s, h, d) or (total, h, d) view of a tensor in a named layout; no copy."""
    name = LAYOUTS.get(layout.lower())
    if name is None:
        raise ValueError(f"layout {layout!r} is not one of {', '.join(LAYOUTS)}")
    if name == "bnsd":
        return x.transpose(1, 2)
    if name == "bsh":
        if head_dim is None:
            raise ValueError("layout 'bsh' does not tell the head dimension; pass head_dim")
        return x.unflatten(-1, (-1, head_dim))
    return x


def aligned(x: torch.Tensor, d: int) -> torch.Tensor:
    """x itself if its rows can be read in 16-byte chunks, otherwise a copy padded to a multiple of eight columns."""
    strides_ok = x.stride(-1) == 1 and all(
        step % 8 == 0 for step, n in zip(x.stride()[:-1], x.shape[:-1], strict=True) if n > 1
    )
    if x.shape[-1] == d and strides_ok and x.data_ptr() % 16 == 0:
        return x
    padded = torch.zeros((*x.shape[:-1], d), dtype=x.dtype, device=x.device)
    padded[..., : x.shape[-1]] = x
    return padded


def strides(x: torch.Tensor) -> Strides:
    """Strides of a (b, s, h, d) or (total, h, d) tensor."""
    if x.dim() == 4:
        return Strides(x.stride(0), x.stride(1), x.stride(2))
    return Strides(0, x.stride(0), x.stride(1))


def pointer(x: torch.Tensor | None) -> int | None:
    """Its address, or null."""
    return None if x is None else x.data_ptr()


def reasons_against(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, arguments: ForwardArguments) -> list[Reason]:
    """Every reason why the kernels cannot take this call."""
    reasons = []
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.dtype != torch.float16:
            limit = "torch.float16 (all that Volta's and Turing's matrix units take)"
            reasons.append(Reason(f"{name}.dtype", x.dtype, limit, f"use {name}.half()"))
        if not x.is_cuda:
            reasons.append(Reason(f"{name}.device", x.device, "a CUDA device", f"use {name}.cuda()"))
    d, h_q, h_kv = q.shape[-1], q.shape[-2], k.shape[-2]
    for name, x in (("q", q), ("k", k), ("v", v)):
        reasons += Limit(f"{name}.size(-1)", 1, instances.MAX_HEAD_DIM).check(x.shape[-1], "split the head dim")
        if x.shape[-1] != d:
            reasons.append(Reason(f"{name}.size(-1)", x.shape[-1], f"that of q, {d}", "pad the smaller with zeros"))
    if h_q % max(h_kv, 1) != 0:
        reasons.append(Reason("h_q", h_q, f"a multiple of h_kv = {h_kv}", "repeat or drop key heads"))
    if h_kv != v.shape[-2]:
        reasons.append(Reason("v.size(-2)", v.shape[-2], f"that of k, {h_kv}", "give v as many heads as k"))
    return reasons + _length_reasons(q, k, arguments)


def _length_reasons(q: torch.Tensor, k: torch.Tensor, arguments: ForwardArguments) -> list[Reason]:
    reasons = []
    for name, x in (("q", q), ("k", k)):
        packed = getattr(arguments, f"cu_seqlens_{name}") is not None
        if (x.dim() == 3) != packed:
            limit = f"3 with cu_seqlens_{name} and 4 without it"
            reasons.append(Reason(f"{name}.dim()", x.dim(), limit, "give (total, h, d) with it, (b, s, h, d) without"))
    for name in ("cu_seqlens_q", "cu_seqlens_k", "seqused_k"):
        reasons += index_reasons(name, getattr(arguments, name))
    if arguments.cu_seqlens_q is not None and arguments.max_seqlen_q is None:
        limit = "given with cu_seqlens_q (the lengths stay on the device)"
        reasons.append(Reason("max_seqlen_q", None, limit, "pass the longest length, or more"))
    return reasons


def index_reasons(name: str, x: torch.Tensor | None) -> list[Reason]:
    """A reason unless x is absent or a contiguous int32 tensor on the GPU."""
    if x is None or (x.dtype == torch.int32 and x.is_cuda and x.stride(-1) == 1):
        return []
    remedy = f"use {name}.to(device=q.device, dtype=torch.int32).contiguous()"
    return [Reason(name, f"{x.dtype} on {x.device}", "a contiguous int32 tensor on the GPU", remedy)]


def _params(
    tensors: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    arguments: ForwardArguments,
    scale: float,
    rows: int,
) -> PrefillParams:
    q, k, v, o, lse = tensors
    varlen_q, varlen_k = arguments.cu_seqlens_q is not None, arguments.cu_seqlens_k is not None
    lengths = arguments.cu_seqlens_q if varlen_q else arguments.cu_seqlens_k
    params = PrefillParams(
        q=q.data_ptr(), k=k.data_ptr(), v=v.data_ptr(), o=o.data_ptr(), lse=lse.data_ptr(),
        cu_seqlens_q=pointer(arguments.cu_seqlens_q), cu_seqlens_k=pointer(arguments.cu_seqlens_k),
        seqused_k=pointer(arguments.seqused_k), alibi_slopes=pointer(arguments.alibi_slopes),
        q_strides=strides(q), k_strides=strides(k), v_strides=strides(v), o_strides=strides(o),
        h_q=q.shape[-2], h_kv=k.shape[-2], d=q.shape[-1],
        scale_log2=scale * LOG2_E, softmax_scale=scale, softcap=arguments.softcap,
    )  # fmt: skip
    params.b = q.shape[0] if not varlen_q else lengths.numel() - 1  # type: ignore[union-attr]
    params.s_q = int(arguments.max_seqlen_q or 0) if varlen_q else q.shape[1]
    params.s_kv = int(arguments.max_seqlen_k or k.shape[0]) if varlen_k else k.shape[1]
    params.lse_head_stride = lse.stride(-2)
    params.lse_batch_stride = 0 if varlen_q else lse.stride(0)
    if arguments.alibi_slopes is not None and arguments.alibi_slopes.dim() == 2:
        params.alibi_batch_stride = arguments.alibi_slopes.stride(0)
    params.window_left, params.window_right = arguments.window()
    params.row_blocks = -(-params.s_q // rows)
    # Without a right bound all row blocks weigh the same: sweep head by head, whose keys then stay in L2. With one, all
    # heads start their heaviest blocks first; fewer heads a section would leave a heavy tail.
    params.head_section = 1 if params.window_right < 0 else params.b * params.h_q
    return params


def choose_instance(
    q: torch.Tensor, arguments: ForwardArguments, arch: int, d: int, *, bias: bool
) -> instances.PrefillInstance:
    """The instance for the head dimension, or its half-size form if its blocks would not fill the card."""
    large = instances.prefill_instance(arch, d, bias=bias)
    batch, rows = q.shape[:2] if q.dim() == 4 else (1, q.shape[0])
    blocks = -(-rows // large.rows) * batch * q.shape[-2]
    if arguments.window()[1] >= 0:
        blocks //= 2  # a causal block does half the work on average
    small = blocks < SMALL_SHARE * launch.multiprocessors(q.device.index)
    return instances.prefill_instance(arch, d, bias=bias, small=small)


def run(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    arguments: ForwardArguments,
    arch: int,
    instance: instances.PrefillInstance | None = None,
    *,
    heads_first: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """softmax(q k^T * scale + bias) v with the kernels of sm_<arch>: (out, lse).

    q (b, s_q, h_q, d) or (total_q, h_q, d), k and v with h_kv heads; out as q; lse fp32, (b, h_q, s_q) or
    (h_q, total_q). heads_first: out lies in memory as (b, h_q, s_q, d).
    Raises ArgumentError with every reason at once if the kernels cannot take the call.
    Source: FlashAttention-2 (arXiv 2307.08691), algorithm 1.
    """
    if reasons := reasons_against(q, k, v, arguments):
        raise ArgumentError("the Volta and Turing kernels cannot run this call", reasons)
    d = q.shape[-1]
    padded = -(-d // 8) * 8
    scale = d**-0.5 if arguments.softmax_scale is None else arguments.softmax_scale
    bias = arguments.softcap > 0 or arguments.alibi_slopes is not None or scale <= 0
    if arguments.alibi_slopes is not None:
        arguments = dataclasses.replace(arguments, alibi_slopes=arguments.alibi_slopes.float().contiguous())
    chosen = instance or choose_instance(q, arguments, arch, padded, bias=bias)
    q, k, v = aligned(q, padded), aligned(k, padded), aligned(v, padded)
    out = torch.empty_like(q.transpose(1, 2) if heads_first else q, memory_format=torch.contiguous_format)
    out = out.transpose(1, 2) if heads_first else out
    rows_shape = (q.shape[0], q.shape[2], q.shape[1]) if q.dim() == 4 else (q.shape[1], q.shape[0])
    lse = torch.empty(rows_shape, dtype=torch.float32, device=q.device)
    if out.numel() == 0:
        return out[..., :d], lse
    params = _params((q, k, v, out, lse), arguments, scale, chosen.rows)
    grid = params.row_blocks * params.b * params.h_q * chosen.v_splits
    if grid == 0:
        return out[..., :d], lse
    with torch.cuda.device(q.device):
        kernel = launch.kernel(chosen, q.device.index)
        kernel.launch((grid, 1, 1), (chosen.threads, 1, 1), params, torch.cuda.current_stream().cuda_stream)
    return out[..., :d], lse
