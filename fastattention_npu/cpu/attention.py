"""forward and decode on CPU tensors: checks, then addresses and strides to the native kernel. Never copies K or V."""

from typing import Any

import torch
from torch import Tensor

from .._native import core
from ..argument_values import check_values
from ..arguments import Problem, check_arguments
from ..errors import ArgumentError, Reason
from ..limits import Limit
from ..options import Options
from .params import make_params

MAX_HEAD_DIM = 256  # of the native kernel


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    out: Tensor | None = None,
    return_lse: bool = True,
    threads: int | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """O = softmax(scale * Q K^T + bias, masked) V, with float32 accumulation, on CPU tensors.

    Args:
        q, k, v: float32, float16 or bfloat16, any strides; layouts, caches and sizes as docs/flash_attention.md says.
        options: the fields of options.Options, under their names. Equal calls with equal threads give equal bits.
        out: where O goes, shaped like the result, any strides; must not overlap q, k or v.
        return_lse: whether lse is computed.
        threads: default torch.get_num_threads().
    Returns: O in q's layout and dtype, and lse (natural log, float32: (b, h_q, s_q), or (h_q, tokens) for TND; None
        unless return_lse). A row that sees no key: O = 0, lse = -inf (with a sink: lse = the sink).
    Raises: ArgumentError with every reason at once.
    Limits: forward only; d_qk and d_v 1..256. A hidden key's NaN or infinity does not reach O.
    Source: FlashAttention-2, arXiv 2307.08691.
    """
    name = "fastattention_npu.cpu.forward"
    return _checked(name, q, k, v, Options.from_names(options, name), out, return_lse, threads)


def decode(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    cache_seqlens: Tensor,
    *,
    out: Tensor | None = None,
    return_lse: bool = False,
    threads: int | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """O = softmax(scale * Q K^T) V of the newest tokens against a cache, causal, one pass over K and V per GQA group.

    Args:
        q: (b, s_q, h_q, d) or, for BNSD, (b, h_q, s_q, d): the newest s_q tokens, whose k and v are in the cache.
        k_cache, v_cache: (b, capacity, h_kv, d) (BNSD: (b, h_kv, capacity, d)), or pages with block_table.
        cache_seqlens: int32 (b), tokens in the cache, the new ones included; the rest of the cache is not read.
        out, return_lse, threads, options: as for forward, without causal and seqused_k.
    Returns: O, and lse or None, as for forward.
    Raises: ArgumentError with every reason at once.
    Limits: as for forward. Fastest with h_q / h_kv * s_q <= 8 and a head's tokens contiguous (BNSD).
    Source: FlashAttention-2's split over keys ("flash decoding"); FastAttention, arXiv 2410.16663, section 4.4.
    """
    name = "fastattention_npu.cpu.decode"
    chosen = Options.from_names(options | {"causal": True, "seqused_k": cache_seqlens}, name)
    return _checked(name, q, k_cache, v_cache, chosen, out, return_lse, threads)


class PreparedDecode:
    """decode over tensors that stay where they are: checked once, then each call is the kernel's alone.

    Args: as for decode; `out` is where O goes. The values of cache_seqlens are read in every call.
    Raises: as decode; a call raises ValueError if cache_seqlens went out of range.
    """

    def __init__(
        self,
        q: Tensor,
        k_cache: Tensor,
        v_cache: Tensor,
        cache_seqlens: Tensor,
        out: Tensor,
        *,
        layout: str = "bshd",
        threads: int | None = None,
    ) -> None:
        options = Options(causal=True, seqused_k=cache_seqlens, layout=layout)
        p = _check("fastattention_npu.cpu.PreparedDecode", q, k_cache, v_cache, options, out, threads)
        self.tensors = (q, k_cache, v_cache, cache_seqlens, out)  # kept alive: the kernel knows addresses only
        self.params = make_params(q, k_cache, v_cache, options, p, out, None, threads)

    def __call__(self) -> None:
        core().cpu_attend(self.params)


def attend(
    q: Tensor, k: Tensor, v: Tensor, options: Options, p: Problem, out: Tensor, lse: Tensor | None,
    threads: int | None = None,
) -> None:  # fmt: skip
    """Fills out, and lse unless it is None, of checked arguments (check_arguments, check_values)."""
    if p.packed and options.cu_seqlens_q is not None:
        end = int(options.cu_seqlens_q[-1])
        out[end:] = 0  # tokens behind the last sequence belong to none
        if lse is not None:
            lse[:, end:] = -torch.inf
    core().cpu_attend(make_params(q, k, v, options, p, out, lse, threads))


def _checked(
    name: str, q: Tensor, k: Tensor, v: Tensor, options: Options, out: Tensor | None, return_lse: bool,
    threads: int | None,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    p = _check(name, q, k, v, options, out, threads)
    check_values(k, options, p, f"{name} cannot take these arguments")
    if out is None:
        out = q.new_empty(p.out_shape)
    lse = q.new_empty(p.lse_shape, dtype=torch.float32) if return_lse else None
    attend(q, k, v, options, p, out, lse, threads)
    return out, lse


def _check(
    name: str, q: Tensor, k: Tensor, v: Tensor, options: Options, out: Tensor | None, threads: int | None
) -> Problem:
    headline = f"{name} cannot take these arguments"
    p = check_arguments(q, k, v, options, "cpu", headline, more=_own_reasons(q, threads))
    reasons = [*_head_reasons(p), *_out_reasons(q, out, p)]
    if reasons:
        raise ArgumentError(headline, reasons)
    return p


def _own_reasons(q: Tensor, threads: int | None) -> list[Reason]:
    reasons = []
    if q.device.type != "cpu":
        reasons.append(Reason("q.device", q.device, "cpu", "move the tensors: q.cpu(), ..."))
    if threads is not None and threads < 1:
        reasons.append(Reason("threads", threads, "1 or more", "leave it out for torch's number"))
    return reasons


def _head_reasons(p: Problem) -> list[Reason]:
    remedy = "call torch.ops.fastattn.flash_attention, which falls back to PyTorch"
    return [
        reason
        for name, size in (("d", p.d), ("d_v", p.d_v))
        for reason in Limit(name, 1, MAX_HEAD_DIM, why="the native CPU kernel").check(size, remedy)
    ]


def _out_reasons(q: Tensor, out: Tensor | None, p: Problem) -> list[Reason]:
    if out is None:
        return []
    reasons = []
    if tuple(out.shape) != p.out_shape:
        reasons.append(Reason("out.shape", tuple(out.shape), str(p.out_shape), "correct the shape of out"))
    for what, got, want in (("dtype", out.dtype, q.dtype), ("device", out.device, q.device)):
        if got != want:
            reasons.append(Reason(f"out.{what}", got, f"that of q, {want}", f"use out.to(q.{what})"))
    return reasons
