"""FlashAttention-2's Python functions on torch.ops.fastattn, with its argument names, order and defaults.

`import fastattention_npu as flash_attn` serves code that was written for it. Arguments that all of them share:

    dropout_p: 0 only.
    softmax_scale: None is 1 / sqrt(d).
    causal: row r sees key c iff c <= r + s_kv - s_q (aligned bottom-right).
    window_size: (left, right): keys on either side of the diagonal that a row sees; -1 for all of them.
    softcap: scores become softcap * tanh(score / softcap); 0 for none.
    alibi_slopes: (h_q) or (b, h_q) fp32: -slope * |distance to the diagonal| is added to the scores.
    deterministic: the forward always is; accepted for compatibility.
    return_attn_probs: also return lse, fp32, natural logarithm, and None in the place of the dropout matrix.

All raise ArgumentError with every reason at once. Limits: docs/flash_attention.md; the backward is not implemented.
Source of the signatures: Dao-AILab/flash-attention, flash_attn_interface.py; algorithm: arXiv 2307.08691.
"""

from typing import Any

import torch
from torch import Tensor

from .arguments import check_arguments
from .errors import ArgumentError, Reason
from .ops import backend_of
from .options import Options

Result = Tensor | tuple[Tensor, Tensor, None]


def flash_attn_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Result:
    """O = softmax(softmax_scale · Q Kᵀ + mask) V

    Arguments:
        q: (b, s_q, h_q, d), fp16, bf16 or fp32. k, v: (b, s_kv, h_kv, d), dtype and device of q; h_q a multiple of
            h_kv. Others: see the module.
    Returns:
        O, (b, s_q, h_q, d) in the dtype of q; with return_attn_probs (O, lse (b, h_q, s_q), None).
    Raises, limits, source: see the module.
    """
    scores = _score_options(softmax_scale, causal, window_size, softcap, alibi_slopes)
    return _attend("flash_attn_func", q, k, v, dropout_p, return_attn_probs, scores)


def flash_attn_kvpacked_func(
    q: Tensor,
    kv: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Result:
    """flash_attn_func with K and V in one tensor, read in place: kv (b, s_kv, 2, h_kv, d)."""
    name = "flash_attn_kvpacked_func"
    k, v = _unpack(name, "kv", kv, 5, 2)
    scores = _score_options(softmax_scale, causal, window_size, softcap, alibi_slopes)
    return _attend(name, q, k, v, dropout_p, return_attn_probs, scores)


def flash_attn_qkvpacked_func(
    qkv: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Result:
    """flash_attn_func with Q, K and V in one tensor, read in place: qkv (b, s, 3, h, d)."""
    name = "flash_attn_qkvpacked_func"
    q, k, v = _unpack(name, "qkv", qkv, 5, 3)
    scores = _score_options(softmax_scale, causal, window_size, softcap, alibi_slopes)
    return _attend(name, q, k, v, dropout_p, return_attn_probs, scores)


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
    block_table: Tensor | None = None,
) -> Result:
    """Attention of sequences packed back to back.

    Arguments:
        q: (total_q, h_q, d). k, v: (total_k, h_kv, d), or pages (pages, page_size, h_kv, d) with block_table.
        cu_seqlens_q, cu_seqlens_k: (b + 1) int32, where each sequence starts and the last one ends; they stay on the
            device. Sequences may be empty.
        max_seqlen_q, max_seqlen_k: the longest sequence, or more.
        block_table: (b, pages of a sequence) int32. Others: see the module.
    Returns:
        O (total_q, h_q, d); with return_attn_probs (O, lse (h_q, total_q), None).
    Raises, limits, source: see the module.
    """
    scores = _score_options(softmax_scale, causal, window_size, softcap, alibi_slopes)
    if block_table is None:
        lengths: dict[str, Any] = {"cu_seqlens_k": cu_seqlens_k, "max_seqlen_k": max_seqlen_k}
    else:
        lengths = {"seqused_k": cu_seqlens_k.diff(), "block_table": block_table}
    lengths |= {"cu_seqlens_q": cu_seqlens_q, "max_seqlen_q": max_seqlen_q, "layout": "tnd"}
    return _attend("flash_attn_varlen_func", q, k, v, dropout_p, return_attn_probs, scores | lengths)


def flash_attn_varlen_kvpacked_func(
    q: Tensor,
    kv: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Result:
    """flash_attn_varlen_func with K and V in one tensor, read in place: kv (total_k, 2, h_kv, d)."""
    k, v = _unpack("flash_attn_varlen_kvpacked_func", "kv", kv, 4, 2)
    return flash_attn_varlen_func(
        q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p, softmax_scale, causal, window_size,
        softcap, alibi_slopes, deterministic, return_attn_probs,
    )  # fmt: skip


def flash_attn_varlen_qkvpacked_func(
    qkv: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Result:
    """flash_attn_varlen_func with Q, K and V in one tensor, read in place: qkv (total, 3, h, d)."""
    q, k, v = _unpack("flash_attn_varlen_qkvpacked_func", "qkv", qkv, 4, 3)
    return flash_attn_varlen_func(
        q, k, v, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen, dropout_p, softmax_scale, causal, window_size,
        softcap, alibi_slopes, deterministic, return_attn_probs,
    )  # fmt: skip


def _score_options(
    softmax_scale: float | None, causal: bool, window_size: tuple[int, int], softcap: float, alibi_slopes: Tensor | None
) -> dict[str, Any]:
    left, right = window_size
    return {
        "softmax_scale": softmax_scale,
        "causal": causal,
        "window_left": left,
        "window_right": right,
        "softcap": softcap,
        "alibi_slopes": alibi_slopes,
    }


def _unpack(function: str, name: str, packed: Tensor, rank: int, count: int) -> tuple[Tensor, ...]:
    if packed.dim() != rank or packed.size(-3) != count:
        shape = f"({'b, s' if rank == 5 else 'total'}, {count}, h, d)"
        reason = Reason(f"{name}.shape", tuple(packed.shape), shape, f"stack {', '.join(name)} in dimension -3")
        raise ArgumentError(f"{function} cannot take these arguments", [reason])
    return packed.unbind(-3)


def _attend(
    function: str, q: Tensor, k: Tensor, v: Tensor, dropout_p: float, return_lse: bool, values: dict[str, Any]
) -> Result:
    if dropout_p != 0.0:
        reason = Reason("dropout_p", dropout_p, "0", "dropout is not implemented: pass 0")
        refuse(function, q, k, v, values, [reason])
    out, lse = torch.ops.fastattn.flash_attention(q, k, v, **values)
    return (out, lse, None) if return_lse else out


def refuse(function: str, q: Tensor, k: Tensor, v: Tensor, values: dict[str, Any], reasons: list[Reason]) -> None:
    """Raises ArgumentError with these reasons and those of the operator."""
    headline = f"{function} cannot take these arguments"
    check_arguments(q, k, v, Options(**values), backend_of(q), headline, more=reasons)
