"""The pipeline over torch.distributed: attention, projection and all_reduce block by block.

The all_reduce of a block is asynchronous: NCCL and HCCL run it on a stream of their own, gloo on threads, while the
next block is computed. No communication of our own, and the order of additions is the library's.
"""

import torch
import torch.distributed as dist
from torch import Tensor

from .call import Call, attend
from .exchange import run_exchange
from .peer_links import peer_links
from .schedule import Schedule, project


def run_schedule(call: Call, group: dist.ProcessGroup | None, schedule: Schedule) -> Tensor:
    """The call in the schedule's form; the library's AllReduce where peer memory is not at hand."""
    links = peer_links(group, call.q.device) if schedule.exchange else None
    return run_blocks(call, group, schedule) if links is None else run_exchange(call, links, schedule)


def run_blocks(call: Call, group: dist.ProcessGroup | None, schedule: Schedule, *, overlap: bool = True) -> Tensor:
    """out (tokens, hidden) = sum over ranks of Attn · W_oᵀ + bias; overlap False: all blocks are computed first."""
    out = call.q.new_empty((call.tokens, call.hidden))
    adds_bias = call.bias is not None and (group is None or dist.get_rank(group) == 0)
    pending = []
    parts = []
    begin = 0
    for launch in schedule.launches:
        heads = attend(call, begin, begin + sum(launch))
        for rows in heads.split(launch):
            parts.append(out[begin : begin + rows.size(0)])
            project(rows, call.w_o, call.bias if adds_bias else None, parts[-1])
            if group is not None and overlap:
                pending.append(dist.all_reduce(parts[-1], group=group, async_op=True))
            begin += rows.size(0)
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
