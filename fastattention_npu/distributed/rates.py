"""Token blocks of the torch engines: op_host's planner with rates measured on this group, once per shape.

Computing is timed on a few ranges of the call's own tensors, the links on a few sizes; rank 0 plans and tells the
others, so that all cut alike.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from .._native import core
from .call import Call, attend
from .pipeline import project

GRANULE = 128
SAMPLES = 8
REPEATS = 3
LINK_TOKENS = (128, 1024, 4096)  # tokens of the messages that are timed, at most the call's own

_plans: dict[tuple[Any, ...], list[int]] = {}


def token_blocks(call: Call, group: dist.ProcessGroup | None) -> list[int]:
    """The blocks of a call: measured once for a group, device and shape."""
    if group is None or dist.get_world_size(group) == 1:
        return [call.tokens]
    shapes = (tuple(call.q.shape), tuple(call.k.shape), call.hidden, call.window, call.lengths)
    key = (group.group_name, str(call.q.device), call.q.dtype, *shapes)
    if key not in _plans:
        _plans[key] = agree(plan(measure(call, group))["blocks"], group, call.q.device)
    return _plans[key]


def forget() -> None:
    """Drops what was planned; the next call measures again."""
    _plans.clear()


def plan(rates: dict[str, Any], blocks: list[int] | None = None) -> dict[str, Any]:
    """op_host's blocks for measured rates, or the modelled times of given ones."""
    return core().plan_token_blocks(rates | ({"blocks": blocks} if blocks else {}))


def agree(blocks: list[int], group: dist.ProcessGroup, device: torch.device) -> list[int]:
    """Rank 0's blocks on every rank."""
    root = dist.get_global_rank(group, 0)
    count = torch.tensor([len(blocks)], device=device)
    dist.broadcast(count, root, group=group)
    values = torch.zeros(int(count), dtype=torch.int64, device=device)
    if dist.get_rank(group) == 0:
        values.copy_(torch.tensor(blocks))
    dist.broadcast(values, root, group=group)
    return [int(x) for x in values]


def measure(call: Call, group: dist.ProcessGroup) -> dict[str, Any]:
    """What plan_token_blocks needs: cumulative computing times by granule and a line through the links' times."""
    granules = -(-call.tokens // GRANULE)
    out = call.q.new_empty((call.tokens, call.hidden))
    step = max(1, granules // SAMPLES) * GRANULE
    compute_us: list[float] = []
    for begin in range(0, call.tokens, step):
        end = min(call.tokens, begin + step)

        def work(begin: int = begin, end: int = end) -> None:
            project(attend(call, begin, end), call.w_o, None, out[begin:end])

        us = timed(work, call.q.device)
        before = compute_us[-1] if compute_us else 0.0
        parts = -(-(end - begin) // GRANULE)
        compute_us += [before + us * (i + 1) / parts for i in range(parts)]
    small_us, per_token_us = _link_line(call, group, out)
    return {
        "tokens": call.tokens,
        "granule": GRANULE,
        "compute_us": compute_us,
        "bytes_per_token": float(call.hidden * out.element_size()),
        "block_us": small_us / 2,
        "slowdown": 1.1 if call.q.is_cuda else 1.5,
        "link": {"large_us": small_us, "large_us_per_byte": per_token_us / (call.hidden * out.element_size())},
    }


def _link_line(call: Call, group: dist.ProcessGroup, out: torch.Tensor) -> tuple[float, float]:
    """Time of an all_reduce as constant and slope a token, through the shortest and the longest message."""
    times = []
    for tokens in sorted({min(call.tokens, size) for size in (*LINK_TOKENS, call.tokens)}):
        part = out[:tokens].zero_()
        times.append((tokens, timed(partial(dist.all_reduce, part, group=group), call.q.device)))
    (few, few_us), (many, many_us) = times[0], times[-1]
    slope = max(0.0, (many_us - few_us) / (many - few)) if many > few else few_us / few
    return max(1.0, few_us - slope * few), slope


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Median time of a call in µs, after one to warm up."""
    times = []
    for _ in range(REPEATS + 1):
        if device.type != "cpu":
            torch.accelerator.synchronize()
        start = time.perf_counter()
        work()
        if device.type != "cpu":
            torch.accelerator.synchronize()
        times.append((time.perf_counter() - start) * 1e6)
    return sorted(times[1:])[REPEATS // 2]
