"""A checked call as the native kernel's parameter struct: addresses, strides and numbers."""

from typing import Any

import torch
from torch import Tensor

from .. import layouts
from .._native import core
from ..arguments import Problem
from ..options import Options

DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, torch.bool: 3}


def make_params(
    q: Tensor, k: Tensor, v: Tensor, options: Options, p: Problem, out: Tensor, lse: Tensor | None, threads: int | None
) -> Any:
    params = core().CpuAttentionParams()
    params.dtype = DTYPES[q.dtype]
    params.q, params.k, params.v, params.o = (x.data_ptr() for x in (q, k, v, out))
    params.q_strides, params.o_strides = _strides(q, p.layout, p.d), _strides(out, p.layout, p.d_v)
    params.k_strides, params.v_strides = _strides(k, p.kv_layout, p.d), _strides(v, p.kv_layout, p.d_v)
    params.batch, params.queries, params.keys = p.b, p.s_q, p.s_kv
    params.h_q, params.h_kv, params.d_qk, params.d_v = p.h_q, p.h_kv, p.d, p.d_v
    params.scale, params.softcap = options.scale(p.d), float(options.softcap)
    params.window_left, params.window_right = options.window
    slopes = options.alibi_slopes
    params.alibi, params.sinks = _address(slopes), _address(options.sinks)
    params.alibi_b = p.h_q if slopes is not None and slopes.dim() == 2 else 0
    params.seqused_k, params.cu_q = _address(options.seqused_k), _address(options.cu_seqlens_q)
    params.cu_k = _address(options.cu_seqlens_k)
    # A cache row chosen by index is a page as long as the row.
    table = options.block_table if options.cache_batch_idx is None else options.cache_batch_idx.unsqueeze(1)
    if table is not None:
        params.block_table, params.block_table_stride = table.data_ptr(), table.stride(0)
        params.page_size, params.page_count = max(p.page_size, 1), k.size(0)
    if options.attn_mask is not None:
        s = options.attn_mask.expand(p.b, p.h_q, p.s_q, p.s_kv).stride()
        params.mask, params.mask_dtype = options.attn_mask.data_ptr(), DTYPES[options.attn_mask.dtype]
        params.mask_strides = core().CpuStrides(s[0], s[2], s[1], s[3])
    if lse is not None:
        params.lse = lse.data_ptr()
        params.lse_strides = core().CpuStrides(0 if p.packed else lse.stride(0), lse.stride(-1), lse.stride(-2), 0)
    params.threads = threads or torch.get_num_threads()
    params.splits = options.num_splits
    return params


def _strides(x: Tensor, layout: str, d: int) -> Any:
    batch, token, head, channel = layouts.as_bshd(x, layout, d).stride()
    return core().CpuStrides(0 if layout == "tnd" else batch, token, head, channel)


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()
