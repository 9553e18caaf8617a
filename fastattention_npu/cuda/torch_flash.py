"""PyTorch's own flash attention behind the same arguments, for Ampere and newer.

Stage: tensors -> torch. It must not be called for what dispatch.Problem.beyond_torch names.
"""

from __future__ import annotations

import math

import torch

from .prefill import ForwardArguments, aligned


def run(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, arguments: ForwardArguments
) -> tuple[torch.Tensor, torch.Tensor]:
    """(out, lse) with this package's conventions: masks align bottom-right, a row with nothing visible has lse -inf."""
    d = q.shape[-1]
    padded = -(-d // 8) * 8
    scale = d**-0.5 if arguments.softmax_scale is None else arguments.softmax_scale
    left, right = arguments.window()
    varlen = arguments.cu_seqlens_q is not None
    s_q = arguments.max_seqlen_q if varlen else q.shape[1]
    s_kv = arguments.max_seqlen_k if varlen else k.shape[1]
    out, lse, *_ = torch.ops.aten._flash_attention_forward(
        aligned(q, padded), aligned(k, padded), aligned(v, padded),
        arguments.cu_seqlens_q, arguments.cu_seqlens_k, s_q, s_kv, 0.0,
        left < 0 and right == 0, False, scale=scale,
        window_size_left=left if (left >= 0 or right > 0) else None,
        window_size_right=right if (left >= 0 or right > 0) else None,
    )  # fmt: skip
    # FlashAttention-2 marks a row with nothing visible by +inf
    return out[..., :d], lse.masked_fill(lse == math.inf, -math.inf)
