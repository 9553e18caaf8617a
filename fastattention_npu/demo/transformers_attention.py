"""Hands `torch.ops.fastattn.flash_attention` to Hugging Face transformers (>= 5) as an attention implementation.

Two hooks of transformers' public interface: the attention function itself, and the mask function, which here builds no
mask at all: it turns the tokenizer's padding into one count of valid keys per sequence. Encoders with right padding
only; everything else is refused, never approximated.
"""

from collections.abc import Callable
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

import fastattention_npu  # noqa: F401  (defines torch.ops.fastattn)

KERNEL_DTYPES = (torch.float16, torch.bfloat16)


def key_counts(
    batch_size: int,
    q_length: int,
    kv_length: int,
    attention_mask: torch.Tensor | None = None,
    **_unused: Any,
) -> torch.Tensor | None:
    """Valid keys of each sequence, int32 (b,), from a padding mask (b, s_kv); None where nothing is padded."""
    if attention_mask is None:
        return None
    valid = attention_mask.bool()  # (b, s_kv)
    counts = valid.sum(dim=-1, dtype=torch.int32)  # (b,)
    right_padded = torch.arange(kv_length, device=valid.device) < counts[:, None]  # (b, s_kv)
    if not torch.equal(valid, right_padded):
        raise ValueError(
            "the attention mask is not right padding: set padding_side='right' in the tokenizer; "
            "masks with holes or left padding cannot be expressed as valid key counts"
        )
    return counts


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """O = softmax(scaling * Q K^T) V on (b, h, s, d) inputs; returns O as (b, s, h, d) in the dtype of `query`."""
    causal = kwargs.get("is_causal")
    if causal is None:
        causal = getattr(module, "is_causal", False)
    if causal or dropout:
        raise NotImplementedError(
            f"is_causal={causal}, dropout={dropout}: this attention implementation serves encoders at inference; "
            "call model.eval(), or choose attn_implementation='sdpa' for a decoder"
        )
    dtype = query.dtype if query.dtype in KERNEL_DTYPES else torch.float16
    # transformers hands over (b, h, s, d) views of (b, s, h, d) memory, so the transpose back is free.
    q, k, v = (x.transpose(1, 2).to(dtype).contiguous() for x in (query, key, value))
    out, _lse = torch.ops.fastattn.flash_attention(
        q, k, v, softmax_scale=scaling, causal=False, seqused_k=attention_mask, layout="bshd"
    )
    return out.to(query.dtype), None


def register(name: str = "fastattn", on_layer: Callable[[torch.nn.Module, torch.Tensor], None] | None = None) -> str:
    """Makes `attn_implementation=name` known to transformers and returns `name`.

    on_layer(module, query) is called after each attention layer, with the layer and its query (b, h, s, d).
    """

    def attention_and_report(
        module: torch.nn.Module, query: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, None]:
        result = attention(module, query, *args, **kwargs)
        if on_layer is not None:
            on_layer(module, query)
        return result

    AttentionInterface.register(name, attention_and_report)
    AttentionMaskInterface.register(name, key_counts)
    return name
