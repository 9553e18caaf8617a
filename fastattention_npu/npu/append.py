"""append_kv_cache_ on an NPU: queued like the attention that follows it, nothing read back."""

import torch
from torch import Tensor

from ..cache_call import KERNEL, Append
from ..dispatch import Backend
from .launch import queue
from .runtime import require_torch_npu, soc_of_device


def append(call: Append, backend: Backend) -> Tensor:
    """Queues a checked call on the current stream of the caches' device; the lengths afterwards, (b) int32.

    Values of the index tensors are not looked at here; the kernel leaves out what has no place in the cache.
    """
    require_torch_npu()
    device = call.k.device
    lengths = torch.empty_like(call.cache_seqlens)
    soc = (backend.soc if backend.name == "npu" else None) or soc_of_device(device.index)
    queue(KERNEL, call.plan(soc), call.ranges(lengths), device)
    return lengths
