"""One launch of a kernel on an NPU: plan on the host, tiling by value, workspace from torch_npu's allocator, queued.

Nothing here waits for the device or reads its memory, so a launch can be captured into a graph; the one exception is
the first launch with a new mask on a device, which copies the mask there.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._native import core
from ..arguments import Problem
from ..dispatch import Backend
from ..kernel_call import KERNEL, Range, device_constants, make_call, range_of
from ..options import Options
from . import glue
from .runtime import require_torch_npu, runtime, soc_of_device


def launch_flash_attention(
    q: Tensor, k: Tensor, v: Tensor, options: Options, p: Problem, backend: Backend
) -> tuple[Tensor, Tensor]:
    """Queues checked arguments on the current stream of q's device; O and lse are ready when that stream gets there.

    Lengths and other values on the device are not looked at. Packed sequences whose longest the caller did not name are
    taken for as long as there are tokens; rows behind the last sequence are left as they are. backend: a tiling, and a
    SoC other than the device's, of backend("npu").
    """
    require_torch_npu()
    out = q.new_empty(p.out_shape)
    lse = q.new_empty(p.lse_shape, dtype=torch.float32)
    if p.b == 0 or p.tokens_q == 0:
        return out, lse
    if p.s_kv == 0:  # nothing to attend to
        # Copies from the host, for which no operator of CANN's is needed.
        out.copy_(torch.zeros(out.shape, dtype=out.dtype))
        lse.copy_(torch.full(lse.shape, -torch.inf) if options.sinks is None else options.sinks[:, None].expand_as(lse))
        return out, lse
    chosen = backend if backend.name == "npu" else Backend("npu")
    soc = chosen.soc or soc_of_device(q.device.index)
    call = make_call(q, k, v, out, lse, options, p, soc, chosen.tiling)
    mask = mask_on(q.device, call.plan["tiling"]["mask_block"], call.plan["tiling"]["mask"])
    queue(KERNEL, call.plan, call.ranges(range_of(mask)), q.device)
    return out, lse


def queue(kernel: str, plan: Mapping[str, Any], operands: Mapping[str, Range], device: torch.device) -> None:
    """Queues a kernel of core().kernels() on the current stream of the device.

    operands: (address, bytes) by name, without the workspace; absent ones are left out.
    """
    glue.load()
    given = dict(operands)
    workspace = None
    if plan["workspace_bytes"]:
        # An ordinary tensor, whose memory torch_npu's allocator reuses in stream order, and in a graph's own pool.
        workspace = torch.empty(plan["workspace_bytes"], dtype=torch.uint8, device=device)
        given["workspace"] = range_of(workspace)
    ranges = [given.pop(name, (0, 0)) for name in core().kernels()[kernel]["operands"]]
    assert not given, f"{kernel} has no operand {', '.join(given)}"
    addresses, sizes = zip(*ranges, strict=True)
    tiling = torch.from_numpy(np.frombuffer(plan["tiling_bytes"], np.uint8).copy())
    launch = torch.ops.fastattn_npu.launch
    launch(runtime().library, kernel, plan["block_dim"], device.index, addresses, sizes, tiling)
    del workspace  # only now


@lru_cache(maxsize=64)
def mask_on(device: torch.device, mask_block: int, mask: str) -> Tensor:
    """The M-mask and the ALiBi ramp behind it on a device: made once, kept, read by every stream."""
    if torch.get_device_module("npu").is_current_stream_capturing():
        raise RuntimeError(
            "the first launch with this mask copies it to the device, which a graph cannot capture: call the function "
            "once before the capture"
        )
    # From pageable memory the copy is done when this returns, so that no stream has to wait for it.
    return torch.from_numpy(device_constants(mask_block, mask)).to(device)
