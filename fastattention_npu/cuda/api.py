"""The entry points that the operator layer calls: layouts in and out, the dispatch, nothing else.

Stage: public functions -> dispatch -> prefill, decoding or torch_flash.
"""

from __future__ import annotations

import dataclasses

import torch

from ..errors import ArgumentError, Reason
from . import decoding, dispatch, launch, prefill, torch_flash
from .decoding import CacheArguments
from .prefill import ForwardArguments, to_rows

MAX_DECODE_ROWS = 16  # longer queries run the prefill kernel, over gathered pages if the cache is paged


def from_rows(x: torch.Tensor, layout: str) -> torch.Tensor:
    """The inverse of prefill.to_rows, contiguous in its layout."""
    name = prefill.LAYOUTS[layout.lower()]
    if name == "bnsd":
        return x.transpose(1, 2).contiguous()
    return x.contiguous().flatten(-2) if name == "bsh" else x.contiguous()


def _choose(
    q: torch.Tensor, arguments: ForwardArguments, backend: str | None, *, cached: bool = False
) -> dispatch.Choice:
    if not q.is_cuda:
        raise ArgumentError("fastattention_npu.cuda", [Reason("q.device", q.device, "a CUDA device", "use q.cuda()")])
    problem = dispatch.Problem(
        dtype=str(q.dtype).removeprefix("torch."),
        d=q.shape[-1],
        varlen=arguments.cu_seqlens_q is not None,
        softcap=arguments.softcap > 0,
        alibi=arguments.alibi_slopes is not None,
        seqused=arguments.seqused_k is not None or (arguments.cu_seqlens_q is None) != (arguments.cu_seqlens_k is None),
        cached=cached,
    )
    choice = dispatch.choose(launch.capability(q.device.index), problem, backend)
    dispatch.announce(choice)
    return choice


def forward(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    cu_seqlens_q: torch.Tensor | None = None,
    cu_seqlens_k: torch.Tensor | None = None,
    max_seqlen_q: int | None = None,
    max_seqlen_k: int | None = None,
    seqused_k: torch.Tensor | None = None,
    layout: str = "bshd",
    head_dim: int | None = None,
    backend: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """out = softmax(q k^T * softmax_scale + bias) v, lse = log of the softmax's denominator.

    Arguments: q (b, s_q, h_q, d), k and v (b, s_kv, h_kv, d) float16 in `layout` ('bshd', 'bnsd', 'bsh' with
    head_dim, or 'tnd' (total, h, d) with cu_seqlens); window_size (left, right), -1 unlimited; causal and
    windows align bottom-right; alibi_slopes (h_q,) or (b, h_q); cu_seqlens (b + 1,) and seqused_k (b,) int32 on the
    GPU; backend 'auto', 'sm70', 'sm75' or 'torch'.
    Returns: out in q's layout, lse (b, h_q, s_q) or (h_q, total_q) float32; a row with nothing visible has 0 and -inf.
    Raises: ArgumentError with every reason at once; NvrtcError if the kernels cannot be compiled.
    Limits: d 1..256; forward only.
    Source: FlashAttention-2 (arXiv 2307.08691); FastAttention (arXiv 2410.16663) for Volta.
    """
    q, k, v = (to_rows(x, layout, head_dim) for x in (q, k, v))
    arguments = ForwardArguments(
        softmax_scale, causal, window_size, softcap, alibi_slopes, cu_seqlens_q, cu_seqlens_k, max_seqlen_q,
        max_seqlen_k, seqused_k,
    )  # fmt: skip
    heads_first = prefill.LAYOUTS[layout.lower()] == "bnsd"
    out, lse = _forward_rows(q, k, v, arguments, backend, heads_first=heads_first)
    return from_rows(out, layout), lse


def _forward_rows(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    arguments: ForwardArguments,
    backend: str | None,
    *,
    heads_first: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    choice = _choose(q, arguments, backend)
    if choice.arch:
        return prefill.run(q, k, v, arguments, choice.arch, heads_first=heads_first)
    return torch_flash.run(q, k, v, arguments)


def decode(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    *,
    cache_seqlens: torch.Tensor | None = None,
    block_table: torch.Tensor | None = None,
    cache_batch_idx: torch.Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    num_splits: int = 0,
    backend: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of a few new rows against a cache that already holds their keys.

    Arguments: q (b, s_q, h_q, d) float16; caches (b_cache, s_kv, h_kv, d), or (pages, page_size, h_kv, d) with
    block_table (b, pages a sequence); cache_seqlens (b,) keys in use; cache_batch_idx (b,) cache row of each sequence;
    int32 tensors on the GPU; num_splits 0 lets the package choose.
    Returns: out as q, lse (b, h_q, s_q) float32.
    Raises: as forward.
    Limits: d 1..256, page sizes that are multiples of 16; more than 16 query rows run the prefill kernel.
    Source: FlashAttention-2 (arXiv 2307.08691).
    """
    arguments = ForwardArguments(softmax_scale, causal, window_size, softcap, alibi_slopes)
    cache = CacheArguments(cache_seqlens, block_table, cache_batch_idx, num_splits)
    if q.shape[1] > MAX_DECODE_ROWS:
        return _long_query(q, k_cache, v_cache, arguments, cache, backend)
    choice = _choose(q, arguments, backend, cached=True)
    return decoding.run(q, k_cache, v_cache, arguments, cache, choice.arch)


def _long_query(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    arguments: ForwardArguments,
    cache: CacheArguments,
    backend: str | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    if cache.block_table is not None:
        table = cache.block_table.clamp(min=0)  # unused entries may be negative
        k, v = (x[table].flatten(1, 2) for x in (k, v))
    elif cache.cache_batch_idx is not None:
        k, v = (x.index_select(0, cache.cache_batch_idx) for x in (k, v))
    return _forward_rows(q, k, v, dataclasses.replace(arguments, seqused_k=cache.cache_seqlens), backend)
