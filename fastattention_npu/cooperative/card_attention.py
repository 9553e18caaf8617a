"""Decode attention over a cache on the accelerator, in a form that a graph can hold where there is a kernel for it.

A graph repeats its launches as they were: a kernel that is given the cache's length as a number would attend to the
same tokens for ever. The package's own decode kernel reads lengths on the device. Elsewhere the call is issued anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

from .attention import DeviceAttention, attend_bnsd
from .device import Accelerator

LOG = logging.getLogger("fastattention_npu.cooperative")

# q (b, 1, h_q, d), keys and values (b, h_kv, capacity, d), tokens in use as an int32 tensor (b) and as a number -> o
CardAttention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]


def card_attention(
    accelerator: Accelerator, dtype: torch.dtype, attention: DeviceAttention = attend_bnsd
) -> tuple[CardAttention, bool]:
    """(the call, whether a graph can hold it). A caller's own `attention` is used as it is."""
    if attention is attend_bnsd and accelerator.device.type == "cuda" and dtype == torch.float16:
        from fastattention_npu.cuda import Problem, choose, nvrtc

        try:
            nvrtc.find(choose(torch.cuda.get_device_capability(accelerator.device), Problem(cached=True)).arch)
        except nvrtc.NvrtcError as error:
            LOG.warning("decode steps are issued call by call, not as graphs: %s", error)
        else:
            return _by_device_length, True

    def by_number(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, used: torch.Tensor, length: int) -> torch.Tensor:
        return attention(q.transpose(1, 2), k[:, :, :length], v[:, :, :length], True).transpose(1, 2)

    return by_number, False


def _by_device_length(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, used: torch.Tensor, length: int
) -> torch.Tensor:
    from fastattention_npu import cuda

    return cuda.decode(q, k.transpose(1, 2), v.transpose(1, 2), cache_seqlens=used, causal=True)[0]
