"""Mask tensors as the kernel takes them: strides of (batch, head, query, key), keys contiguous."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ._native import core

DTYPE_NAMES = {torch.bool: "bool", torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}


def mask_operand(mask: Tensor, shape: tuple[int, int, int, int]) -> tuple[Tensor, dict[str, Any]]:
    """The operand of a mask that broadcasts to `shape` (b, h_q, s_q, s_kv), and what op_host is told of it.

    Read in place if its keys lie side by side; otherwise the dimensions that vary are copied, with the keys spread out.
    """
    view = mask.reshape((1,) * (4 - mask.dim()) + tuple(mask.shape))
    if shape[3] > 1 and (view.size(3) == 1 or view.stride(3) != 1):
        view = view.expand(*view.shape[:3], shape[3]).contiguous()
    strides = [0 if view.size(i) == 1 else view.stride(i) for i in range(3)]
    return view, {"mask_dtype": DTYPE_NAMES[mask.dtype], "mask_strides": [*strides, 1]}


def windows_mask(problem: Mapping[str, Any], device: torch.device) -> Tensor:
    """The S x S tensor of the tiling's mask mode `full`: uint8 (s_q, s_kv), 1 where a query sees a key."""
    right = 0 if problem["causal"] else problem.get("window_right", -1)
    return _windows_mask(problem["s_q"], problem["s_kv"], problem.get("window_left", -1), right, device)


@lru_cache(maxsize=2)  # kept, so that a launch after the first copies nothing: it may be timed, or captured
def _windows_mask(s_q: int, s_kv: int, left: int, right: int, device: torch.device) -> Tensor:
    return torch.from_numpy(core().windows_mask(s_q, s_kv, left, right)).to(device)
