"""torch.ops.fastattn.attention_linear_allreduce: schema, fake and the choice of engine.

On CPU tensors inside backend("sim") rank 0 gathers every rank's tensors and runs the fused kernel on simulated NPUs;
everywhere else the pipeline over the group's own backend (gloo, NCCL, HCCL) runs.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from ..dispatch import Backend, current_backend
from .call import Call, check_blocks, check_call, make_call
from .faults import named_failures
from .pipeline import run_schedule
from .rates import choose_schedule
from .schedule import each
from .simulated import RankInputs, simulate_ranks

NAME = "fastattn::attention_linear_allreduce"
SCHEMA = (
    "attention_linear_allreduce(Tensor q, Tensor k, Tensor v, Tensor w_o, Tensor? bias, str group, *, "
    "float? softmax_scale=None, bool causal=False, int window_left=-1, int window_right=-1, "
    "Tensor? cu_seqlens_q=None, Tensor? cu_seqlens_k=None, int[]? blocks=None) -> Tensor"
)

_library = torch.library.Library("fastattn", "FRAGMENT")
_library.define(SCHEMA, tags=(torch.Tag.pt2_compliant_tag, torch.Tag.needs_fixed_stride_order))


def _fake(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w_o: Tensor,
    bias: Tensor | None,
    group: str,
    *,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_left: int = -1,
    window_right: int = -1,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    blocks: Sequence[int] | None = None,
) -> Tensor:
    check_call(q, k, v, w_o, bias, causal, (window_left, window_right), cu_seqlens_q, cu_seqlens_k)
    return q.new_empty((*q.shape[:-2], w_o.size(0)))


def _implementation(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w_o: Tensor,
    bias: Tensor | None,
    group: str,
    *,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_left: int = -1,
    window_right: int = -1,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    blocks: Sequence[int] | None = None,
) -> Tensor:
    window = (window_left, window_right)
    backend = current_backend()
    process_group = resolve(group)
    # Inside the block already: what one rank refuses, the others must not wait for.
    with named_failures(process_group):
        check_call(q, k, v, w_o, bias, causal, window, cu_seqlens_q, cu_seqlens_k)
        call = make_call(q, k, v, w_o, bias, softmax_scale, causal, window, cu_seqlens_q, cu_seqlens_k)
        check_blocks(blocks, call.tokens)
        if call.tokens == 0:
            return q.new_empty((*q.shape[:-2], w_o.size(0)))
        if backend.name == "sim" and q.device.type == "cpu":
            out = _simulate(call, process_group, blocks, backend)
        else:
            schedule = each(blocks, exchange=True) if blocks else choose_schedule(call, process_group)
            out = run_schedule(call, process_group, schedule)
    return out.view(*q.shape[:-2], w_o.size(0))


def resolve(group: str) -> dist.ProcessGroup | None:
    """The process group of a name; the empty name is no group, one rank."""
    return dist.distributed_c10d._resolve_process_group(cast(Any, group)) if group else None


def _simulate(call: Call, group: dist.ProcessGroup | None, blocks: Sequence[int] | None, backend: Backend) -> Tensor:
    """Rank 0 simulates all ranks and sends each its result."""
    mine = (call.q, call.k, call.v, call.w_o)
    size = 1 if group is None else dist.get_world_size(group)
    inputs = [mine]
    root = 0 if group is None else dist.get_global_rank(group, 0)
    first = group is None or dist.get_rank(group) == 0
    if group is not None:
        gathered = [[torch.empty_like(x.contiguous()) for _ in range(size)] if first else None for x in mine]
        for x, into in zip(mine, gathered, strict=True):
            dist.gather(x.contiguous(), into, root, group=group)
        if first:
            inputs = list(zip(*gathered, strict=True))
    out = call.q.new_empty((call.tokens, call.hidden))
    results = [out] * size
    if first:
        starts = [torch.tensor([0, *(x[i] for x in call.lengths)]).cumsum(0).to(torch.int32) for i in (0, 1)]
        result = simulate_ranks(
            [RankInputs(*rank) for rank in inputs],
            call.bias,
            softmax_scale=call.softmax_scale,
            window=call.window,
            cu_seqlens_q=starts[0],
            cu_seqlens_k=starts[1],
            max_seqlen_q=max(x for x, _ in call.lengths),
            max_seqlen_k=max(1, max(x for _, x in call.lengths)),
            blocks=blocks,
            soc=backend.soc or "ascend910b2",
            tiling=backend.tiling,
            options={"checks": backend.checks} | ({"threads": backend.threads} if backend.threads else {}),
        )
        result.require_no_hazards()
        results = result.outputs
    if group is None:
        return results[0]
    dist.scatter(out, results if first else None, root, group=group)
    return out


torch.library.register_fake(NAME, _fake, lib=_library)
_library.impl("attention_linear_allreduce", _implementation, "CompositeExplicitAutograd")
