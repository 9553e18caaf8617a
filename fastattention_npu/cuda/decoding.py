"""Decode on CUDA tensors: a few query rows against a contiguous or paged cache, keys split over blocks.

Stage: tensors -> DecodeParams -> decode kernel, then combine if the keys were split. Lengths, page tables and cache
rows stay on the device.
"""

from __future__ import annotations

import dataclasses

import torch

from ..errors import ArgumentError, Reason
from ..limits import ARGUMENTS
from . import instances, launch
from .params import DecodeParams
from .prefill import LOG2_E, ForwardArguments, aligned, index_reasons, pointer, reasons_against, strides

MIN_KEYS_PER_SPLIT = 256  # four chunks a warp: below that, combining costs more than the split saves (assumed)
MAX_SPLITS = 128
RESIDENT_WARPS = {32: 16, 64: 12}  # a multiprocessor, by the registers of the 16-row instances
RESIDENT_WARPS_OTHERWISE = 8


@dataclasses.dataclass
class CacheArguments:
    """Where the keys lie in the cache."""

    cache_seqlens: torch.Tensor | None = None  # (b,) int32: keys in use, the new ones included
    block_table: torch.Tensor | None = None  # (b, pages a sequence) int32
    cache_batch_idx: torch.Tensor | None = None  # (b,) int32
    num_splits: int = 0  # 0: chosen here


def choose_splits(tiles: int, resident: int, s_kv: int) -> int:
    """Splits that fill the card's resident blocks once without making any split too short."""
    wanted = resident // max(tiles, 1)
    return max(1, min(wanted, -(-s_kv // MIN_KEYS_PER_SPLIT), MAX_SPLITS))


def _reasons(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, arguments: ForwardArguments, cache: CacheArguments
) -> list[Reason]:
    reasons = reasons_against(q, k, v, arguments)
    for name in ("cache_seqlens", "block_table", "cache_batch_idx"):
        reasons += index_reasons(name, getattr(cache, name))
    if cache.block_table is not None:
        reasons += ARGUMENTS["page size"].check(k.shape[1], "allocate the cache with such pages")
    if cache.block_table is not None and cache.cache_batch_idx is not None:
        reasons.append(Reason("cache_batch_idx", "given", "left out with block_table", "index the table instead"))
    return reasons


def run(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    arguments: ForwardArguments,
    cache: CacheArguments,
    arch: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """softmax(q k^T * scale + bias) v against a cache: (out, lse).

    q (b, s_q, h_q, d); k and v (b_cache, s_kv, h_kv, d), or pages (n, page_size, h_kv, d) with a block table;
    out as q; lse (b, h_q, s_q) fp32. Raises ArgumentError with every reason at once.
    Source: FlashAttention-2 (arXiv 2307.08691), section 3.3, with keys split over blocks.
    """
    if reasons := _reasons(q, k, v, arguments, cache):
        raise ArgumentError("the Volta and Turing decode kernel cannot run this call", reasons)
    d = q.shape[-1]
    padded = -(-d // 8) * 8
    scale = d**-0.5 if arguments.softmax_scale is None else arguments.softmax_scale
    bias = arguments.softcap > 0 or arguments.alibi_slopes is not None or scale <= 0
    packed = q.shape[1] * (q.shape[2] // k.shape[2])
    instance = instances.decode_instance(arch, padded, packed, bias=bias)
    q, k, v = aligned(q, padded), aligned(k, padded), aligned(v, padded)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    lse = torch.empty((q.shape[0], q.shape[2], q.shape[1]), dtype=torch.float32, device=q.device)
    if out.numel() == 0:
        return out[..., :d], lse
    slopes = arguments.alibi_slopes
    if slopes is not None:
        slopes = slopes.float().contiguous()
    params = _params((q, k, v, out, lse), arguments, cache, scale, slopes)
    params.row_tiles = -(-packed // instance.rows)
    tiles = params.b * params.h_kv * params.row_tiles
    warps = RESIDENT_WARPS.get(instance.d if instance.m_tiles == 1 else 0, RESIDENT_WARPS_OTHERWISE)
    resident = warps // instance.warps * launch.multiprocessors(q.device.index)
    params.num_splits = cache.num_splits or choose_splits(tiles, resident, params.s_kv)
    _launch(params, instance, tiles, q.device, lse)
    return out[..., :d], lse


def _params(
    tensors: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    arguments: ForwardArguments,
    cache: CacheArguments,
    scale: float,
    slopes: torch.Tensor | None,
) -> DecodeParams:
    q, k, v, o, lse = tensors
    params = DecodeParams(
        q=q.data_ptr(), k=k.data_ptr(), v=v.data_ptr(), o=o.data_ptr(), lse=lse.data_ptr(),
        seqused_k=pointer(cache.cache_seqlens), block_table=pointer(cache.block_table),
        cache_batch_idx=pointer(cache.cache_batch_idx), alibi_slopes=pointer(slopes),
        q_strides=strides(q), k_strides=strides(k), v_strides=strides(v), o_strides=strides(o),
        b=q.shape[0], s_q=q.shape[1], h_q=q.shape[2], h_kv=k.shape[2], d=q.shape[3],
        scale_log2=scale * LOG2_E, softmax_scale=scale, softcap=arguments.softcap,
    )  # fmt: skip
    params.s_kv = k.shape[1]
    if cache.block_table is not None:
        params.page_size = k.shape[1]
        params.s_kv = k.shape[1] * cache.block_table.shape[1]
        params.block_table_stride = cache.block_table.stride(0)
    if slopes is not None and slopes.dim() == 2:
        params.alibi_batch_stride = slopes.stride(0)
    params.window_left, params.window_right = arguments.window()
    return params


def _launch(
    params: DecodeParams, instance: instances.DecodeInstance, tiles: int, device: torch.device, lse: torch.Tensor
) -> None:
    """The workspace may be freed after this: torch's allocator reuses it in stream order."""
    with torch.cuda.device(device):
        stream = torch.cuda.current_stream().cuda_stream
        if params.num_splits > 1:
            o_partial = torch.empty(params.num_splits * lse.numel() * params.d, dtype=torch.float32, device=device)
            lse_partial = torch.empty(params.num_splits * lse.numel(), dtype=torch.float32, device=device)
            params.o_partial, params.lse_partial = o_partial.data_ptr(), lse_partial.data_ptr()
        kernel = launch.kernel(instance, device.index)
        kernel.launch((tiles * params.num_splits, 1, 1), (instance.threads, 1, 1), params, stream)
        if params.num_splits > 1:
            combine = instances.CombineInstance(instance.arch)
            blocks = -(-lse.numel() // combine.warps)
            launch.kernel(combine, device.index).launch((blocks, 1, 1), (combine.threads, 1, 1), params, stream)
