"""torch.ops.fastattn on CUDA tensors: from checked arguments to forward or decode, and back into the call's layout."""

from typing import Any

from torch import Tensor

from .. import layouts
from ..arguments import Problem
from ..options import Options
from . import api


def attention(q: Tensor, k: Tensor, v: Tensor, options: Options, p: Problem) -> tuple[Tensor, Tensor]:
    """(O, lse) of checked arguments. Lengths and page tables stay on the device."""
    cached = options.block_table is not None or options.cache_batch_idx is not None
    if p.packed and cached:
        return _packed_queries(q, k, v, options, p)
    if cached or (options.seqused_k is not None and not p.packed and p.s_q <= api.MAX_DECODE_ROWS):
        return _decode(q, k, v, options, p)
    return api.forward(
        q, k, v,
        cu_seqlens_q=options.cu_seqlens_q, cu_seqlens_k=options.cu_seqlens_k,
        max_seqlen_q=p.s_q if p.packed else None, max_seqlen_k=p.s_kv if p.packed else None,
        seqused_k=options.seqused_k, layout=p.layout, head_dim=p.d, **_score_options(options),
    )  # fmt: skip


def _score_options(options: Options) -> dict[str, Any]:
    return {
        "softmax_scale": options.softmax_scale,
        "causal": options.causal,
        "window_size": (options.window_left, options.window_right),
        "softcap": options.softcap,
        "alibi_slopes": options.alibi_slopes,
    }


def _decode(q: Tensor, k: Tensor, v: Tensor, options: Options, p: Problem) -> tuple[Tensor, Tensor]:
    rows = layouts.as_bshd(q, p.layout, p.d), *(layouts.as_bshd(x, p.kv_layout, p.d) for x in (k, v))
    out, lse = api.decode(
        *rows, cache_seqlens=options.seqused_k, block_table=options.block_table,
        cache_batch_idx=options.cache_batch_idx, num_splits=options.num_splits, **_score_options(options),
    )  # fmt: skip
    return api.from_rows(out, p.layout), lse


def _packed_queries(q: Tensor, k: Tensor, v: Tensor, options: Options, p: Problem) -> tuple[Tensor, Tensor]:
    """Packed queries against a cache: its pages are gathered, since the prefill kernel reads whole rows."""
    if options.block_table is not None:
        table = options.block_table.clamp(min=0)  # unused entries may be negative
        k, v = (x[table].flatten(1, 2) for x in (k, v))
    elif options.cache_batch_idx is not None:
        k, v = (x.index_select(0, options.cache_batch_idx) for x in (k, v))
    return api.forward(
        q, k, v, cu_seqlens_q=options.cu_seqlens_q, max_seqlen_q=p.s_q, seqused_k=options.seqused_k,
        layout="tnd", **_score_options(options),
    )  # fmt: skip
