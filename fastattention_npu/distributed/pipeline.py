"""The pipeline over torch.distributed: attention, projection and all_reduce block by block.

The all_reduce of a block is asynchronous: NCCL and HCCL run it on a stream of their own, gloo on threads, while the
next block is computed. No communication of our own, and the order of additions is the library's.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from .call import Call, attend


@dataclass(frozen=True)
class Schedule:
    """Tokens of each block. whole_attention: the attention is computed first and at once, and only its projection in
    blocks: better where cutting the attention costs more than its overlap gains."""

    blocks: tuple[int, ...]
    whole_attention: bool = False


def run_blocks(call: Call, group: dist.ProcessGroup | None, schedule: Schedule, *, overlap: bool = True) -> Tensor:
    """out (tokens, hidden) = sum over ranks of Attn · W_oᵀ + bias; overlap False: all blocks are computed first."""
    out = call.q.new_empty((call.tokens, call.hidden))
    adds_bias = call.bias is not None and (group is None or dist.get_rank(group) == 0)
    pending = []
    whole = attend(call, 0, call.tokens) if schedule.whole_attention else None
    begin = 0
    parts = []
    for tokens in schedule.blocks:
        end = begin + tokens
        rows = attend(call, begin, end) if whole is None else whole[begin:end]
        project(rows, call.w_o, call.bias if adds_bias else None, out[begin:end])
        parts.append(out[begin:end])
        if group is not None and overlap:
            pending.append(dist.all_reduce(parts[-1], group=group, async_op=True))
        begin = end
    if group is not None and not overlap:
        pending += [dist.all_reduce(part, group=group, async_op=True) for part in parts]
    for work in pending:
        wait(work, group, out.device)
    return out


def wait(work: dist.Work, group: dist.ProcessGroup | None, device: torch.device) -> None:
    """Waits within the group's timeout. On an accelerator only the current stream waits, and the library watches the
    time; gloo by itself would wait for as long as the connection lives."""
    if device.type == "cpu" and group is not None:
        work.wait(group._get_backend(device).options._timeout)
    else:
        work.wait()


def project(rows: Tensor, w_o: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """out = rows · w_oᵀ (+ bias), accumulated in fp32 by the library."""
    if bias is None:
        torch.mm(rows, w_o.t(), out=out)
    else:
        torch.addmm(bias, rows, w_o.t(), out=out)
