"""FlashAttention-2's Python functions on torch.ops.fastattn, with its argument names, order and defaults."""

import torch
from torch import Tensor

from . import ops  # noqa: F401  (defines torch.ops.fastattn)
from .errors import ArgumentError, Reason


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
) -> Tensor | tuple[Tensor, Tensor, None]:
    """O = softmax(softmax_scale · Q Kᵀ + mask) V

    Arguments:
        q: (b, s_q, h_q, d), fp16, bf16 or fp32.
        k, v: (b, s_kv, h_kv, d), dtype and device of q; h_q a multiple of h_kv.
        dropout_p: 0 only.
        softmax_scale: default 1 / sqrt(d).
        causal: row r sees key c iff c <= r + s_kv - s_q (aligned bottom-right).
        window_size: (-1, -1) only, no window.
        softcap: 0 only.
        alibi_slopes: None only.
        deterministic: the forward always is; accepted for compatibility.
        return_attn_probs: also return lse and, in the place of FlashAttention-2's dropout matrix, None.
    Returns:
        O, shape and dtype of q; with return_attn_probs (O, lse, None), lse (b, h_q, s_q) fp32, natural logarithm.
    Raises:
        ArgumentError: every reason at once.
    Limits:
        docs/flash_attention.md. The backward is not implemented.
    Source:
        Dao-AILab/flash-attention, flash_attn_interface.py; arXiv 2307.08691, algorithm 1.
    """
    reasons = []
    if dropout_p != 0.0:
        reasons.append(Reason("dropout_p", dropout_p, "0", "dropout is not implemented: pass 0"))
    if tuple(window_size) != (-1, -1):
        reasons.append(
            Reason("window_size", tuple(window_size), "(-1, -1)", "windows are not implemented: leave it out")
        )
    if softcap != 0.0:
        reasons.append(Reason("softcap", softcap, "0", "softcap is not implemented: leave it out"))
    if alibi_slopes is not None:
        received = f"a tensor of shape {tuple(alibi_slopes.shape)}"
        reasons.append(Reason("alibi_slopes", received, "None", "ALiBi is not implemented: leave it out"))
    if reasons:
        raise ArgumentError("flash_attn_func cannot take these arguments", reasons)
    out, lse = torch.ops.fastattn.flash_attention(q, k, v, softmax_scale, causal)
    return (out, lse, None) if return_attn_probs else out
