"""The operator's arguments for a shape: random, seeded, on any device (meta: sizes and strides only)."""

from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from . import layouts
from .arguments import TORCH_DTYPES
from .shape_config import ShapeConfig

HIDDEN_SHARE = 0.3  # of the keys, by a boolean mask


def make_inputs(shape: ShapeConfig, seed: int = 0, device: str = "cpu") -> dict[str, Any]:
    """q, k, v, additive masks and sinks from a standard normal distribution; slopes as in ALiBi, 2^(-8 i / h_q)."""
    generator = None if device == "meta" else torch.Generator(device).manual_seed(seed)

    def normal(*size: int, dtype: torch.dtype) -> Tensor:
        return torch.randn(size, generator=generator, device=device).to(dtype)

    dtype = TORCH_DTYPES[shape.dtype]
    rows_q = shape.s_q if shape.seqlens_q is None else sum(shape.seqlens_q)
    sizes_k, layout_k = _key_sizes(shape)
    arguments: dict[str, Any] = {
        "q": normal(*layouts.shape_of(shape.layout, shape.b, rows_q, shape.h_q, shape.d), dtype=dtype),
        "k": normal(*layouts.shape_of(layout_k, *sizes_k, shape.h_kv, shape.d), dtype=dtype),
        "v": normal(*layouts.shape_of(layout_k, *sizes_k, shape.h_kv, shape.head_dim_v), dtype=dtype),
        "softmax_scale": shape.softmax_scale,
        "causal": shape.causal,
        "window_left": shape.window[0],
        "window_right": shape.window[1],
        "softcap": shape.softcap,
        "layout": shape.layout,
        "head_dim": shape.d if shape.layout == "bsh" else None,
    }
    arguments |= _lengths(shape, device)
    if shape.alibi != "none":
        slopes = torch.exp2(-8.0 * torch.arange(1, shape.h_q + 1, device=device) / shape.h_q)
        per_batch = torch.arange(1, shape.b + 1, device=device)[:, None] * slopes / shape.b
        arguments["alibi_slopes"] = slopes if shape.alibi == "head" else per_batch
    if shape.sinks:
        arguments["sinks"] = normal(shape.h_q, dtype=torch.float32)
    if shape.mask is not None:
        keys = shape.s_kv if not shape.page_size else -(-shape.s_kv // shape.page_size) * shape.page_size
        sizes = dict(zip("bhqk", (shape.b, shape.h_q, shape.s_q, keys), strict=True))
        size = [n if name in shape.mask_dims else 1 for name, n in sizes.items()]
        mask = normal(*size, dtype=torch.float32)
        threshold = 0.524  # of a standard normal number: HIDDEN_SHARE lie above
        kinds = {"bool": lambda: mask < threshold, "additive": lambda: mask.to(dtype), "fp32": lambda: mask}
        arguments["attn_mask"] = kinds[shape.mask]()
    return arguments


def _key_sizes(shape: ShapeConfig) -> tuple[tuple[int, int], str]:
    """(batch or pages, rows) of k and v, and their layout."""
    if shape.page_size:
        pages = shape.b * -(-shape.s_kv // shape.page_size)
        return (pages, shape.page_size), "bshd" if shape.layout == "tnd" else shape.layout
    return (shape.b, shape.s_kv if shape.seqlens_k is None else sum(shape.seqlens_k)), shape.layout


def _lengths(shape: ShapeConfig, device: str) -> dict[str, Any]:
    def int32(values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.int32, device=device)

    lengths: dict[str, Any] = {}
    if shape.seqlens_q is not None:
        lengths |= {"cu_seqlens_q": int32([0, *accumulate(shape.seqlens_q)]), "max_seqlen_q": shape.s_q}
    if shape.seqlens_k is not None:
        lengths |= {"cu_seqlens_k": int32([0, *accumulate(shape.seqlens_k)]), "max_seqlen_k": shape.s_kv}
    if shape.seqused_k is not None or shape.page_size:
        lengths["seqused_k"] = int32(shape.seqused_k or [shape.s_kv] * shape.b)
    if shape.page_size:
        pages = -(-shape.s_kv // shape.page_size)
        order = torch.arange(
            shape.b * pages - 1, -1, -1, dtype=torch.int32, device=device
        )  # none where it would be by luck
        lengths["block_table"] = order.reshape(shape.b, pages)
    return lengths
