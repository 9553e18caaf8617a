"""flash_attn_with_kvcache, FlashAttention-2's decoding function: append, then attention over the cache."""

from typing import Any

import torch
from torch import Tensor

from .errors import Reason
from .flash_attn import refuse

NAME = "flash_attn_with_kvcache"


def flash_attn_with_kvcache(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k: Tensor | None = None,
    v: Tensor | None = None,
    rotary_cos: Tensor | None = None,
    rotary_sin: Tensor | None = None,
    cache_seqlens: int | Tensor | None = None,
    cache_batch_idx: Tensor | None = None,
    cache_leftpad: Tensor | None = None,
    block_table: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    rotary_interleaved: bool = True,
    alibi_slopes: Tensor | None = None,
    num_splits: int = 0,
    return_softmax_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """O = softmax(softmax_scale · Q Kᵀ + mask) V of new queries against a KV cache; k and v are appended to it first.

    Arguments:
        q: (b, s_q, h_q, d).
        k_cache, v_cache: (b_cache, capacity, h_kv, d), or pages (pages, page_size, h_kv, d) with block_table; page_size
            a multiple of 16. Changed in place if k and v are given.
        k, v: (b, s_new, h_kv, d), written to the cache at cache_seqlens.
        cache_seqlens: (b) int32 or int: tokens in the cache before the call; None: the whole capacity.
        cache_batch_idx: (b) int32: row of the cache of each batch entry. block_table: (b, pages of a sequence) int32.
        rotary_cos, rotary_sin, cache_leftpad: None only.
        num_splits: parts of the key range, where the backend leaves that to the caller; 0: it chooses.
        Others: see flash_attn.py. causal aligns bottom-right with the keys that the cache then holds.
    Returns:
        O, shape and dtype of q; with return_softmax_lse (O, lse (b, h_q, s_q) fp32).
    Raises: ArgumentError, every reason at once.
    Limits: docs/flash_attention.md.
    Source: Dao-AILab/flash-attention, flash_attn_interface.py; arXiv 2307.08691.
    """
    used = cache_seqlens
    if isinstance(used, int):
        used = _everywhere(used, q)
    left, right = window_size
    values: dict[str, Any] = {
        "softmax_scale": softmax_scale,
        "causal": causal,
        "window_left": left,
        "window_right": right,
        "softcap": softcap,
        "alibi_slopes": alibi_slopes,
        "seqused_k": used,
        "block_table": block_table,
        "cache_batch_idx": cache_batch_idx,
        "num_splits": num_splits,
    }
    absent = {"rotary_cos": rotary_cos, "rotary_sin": rotary_sin, "cache_leftpad": cache_leftpad}
    reasons = _reasons(absent, k, v, used)
    if reasons:
        refuse(NAME, q, k_cache, v_cache, values, reasons)
    if k is not None:
        if not torch.compiler.is_compiling():  # tracing checks with fake tensors, before anything is written
            refuse(NAME, q, k_cache, v_cache, values, [])  # a call that will be refused must not change the cache
        append = torch.ops.fastattn.append_kv_cache_
        values["seqused_k"] = append(k_cache, v_cache, k, v, used, cache_batch_idx, block_table)
    out, lse = torch.ops.fastattn.flash_attention(q, k_cache, v_cache, **values)
    return (out, lse) if return_softmax_lse else out


def _everywhere(length: int, q: Tensor) -> Tensor:
    """(b) int32 on the device of q."""
    if q.device.type != "npu":
        return torch.full((q.size(0),), length, dtype=torch.int32, device=q.device)
    # From page-locked memory, so that the host does not wait for the stream.
    return torch.full((q.size(0),), length, dtype=torch.int32).pin_memory(q.device).to(q.device, non_blocking=True)


def _reasons(absent: dict[str, Tensor | None], k: Tensor | None, v: Tensor | None, used: Tensor | None) -> list[Reason]:
    remedies = {
        "rotary_cos": "rotate q and k before the call",
        "rotary_sin": "rotate q and k before the call",
        "cache_leftpad": "shift the cache rows, or give each sequence its own cache_batch_idx",
    }
    reasons = [
        Reason(name, f"a tensor of shape {tuple(x.shape)}", "None (not implemented)", remedies[name])
        for name, x in absent.items()
        if x is not None
    ]
    if (k is None) != (v is None):
        missing = "k" if k is None else "v"
        reasons.append(Reason(missing, None, "given, since the other one is", "pass k and v, or neither"))
    if k is not None and used is None:
        reasons.append(Reason("cache_seqlens", None, "given with k and v", "pass the tokens in the cache, int32 (b)"))
    return reasons
