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
from .pipeline import Schedule, project, run_blocks

GRANULE = 128
SAMPLES = 8
REPEATS = 3
SLOWDOWN = 1.1  # of computing while the links are busy, and the other way round; assumed
BLOCK_US = {"cpu": 100.0}  # what a block costs besides: launches, a collective's start; assumed
DEFAULT_BLOCK_US = 20.0

_schedules: dict[tuple[Any, ...], Schedule] = {}


def choose_schedule(call: Call, group: dist.ProcessGroup | None) -> Schedule:
    """The schedule of a call: measured once for a group, device and shape."""
    if group is None or dist.get_world_size(group) == 1:
        return Schedule((call.tokens,))
    shapes = (tuple(call.q.shape), tuple(call.k.shape), call.hidden, call.window, call.lengths)
    key = (group.group_name, str(call.q.device), call.q.dtype, *shapes)
    if key not in _schedules:
        _schedules[key] = _faster(call, group, agree(plan(measure(call, group)), group, call.q.device))
    return _schedules[key]


def forget() -> None:
    """Drops what was planned; the next call measures again."""
    _schedules.clear()


def _faster(call: Call, group: dist.ProcessGroup, schedule: Schedule) -> Schedule:
    """The schedule, unless the sequential form turns out to be as fast on this machine."""
    sequential = Schedule((call.tokens,))
    if len(schedule.blocks) == 1:
        return sequential
    times = [timed(partial(run_blocks, call, group, form), call.q.device, 7) for form in (schedule, sequential)]
    worst = torch.tensor(times, device=call.q.device)
    dist.all_reduce(worst, op=dist.ReduceOp.MAX, group=group)
    return schedule if worst[0] < worst[1] else sequential


def plan(rates: dict[str, dict[str, Any]]) -> Schedule:
    """The better of op_host's plans for measured rates: everything in blocks, or the projection only."""
    plans = {form: core().plan_token_blocks(values) for form, values in rates.items()}
    best = min(plans, key=lambda form: plans[form]["model"]["pipelined_us"])
    return Schedule(tuple(plans[best]["blocks"]), best == "projection")


def agree(schedule: Schedule, group: dist.ProcessGroup, device: torch.device) -> Schedule:
    """Rank 0's schedule on every rank."""
    root = dist.get_global_rank(group, 0)
    head = torch.tensor([len(schedule.blocks), int(schedule.whole_attention)], device=device)
    dist.broadcast(head, root, group=group)
    blocks = torch.zeros(int(head[0]), dtype=torch.int64, device=device)
    if dist.get_rank(group) == 0:
        blocks.copy_(torch.tensor(schedule.blocks))
    dist.broadcast(blocks, root, group=group)
    return Schedule(tuple(int(x) for x in blocks), bool(head[1]))


def measure(call: Call, group: dist.ProcessGroup) -> dict[str, dict[str, Any]]:
    """What plan_token_blocks needs for both forms: cumulative computing times by granule and a line through the links'
    times."""
    granules = -(-call.tokens // GRANULE)
    out = call.q.new_empty((call.tokens, call.hidden))
    rows = attend(call, 0, call.tokens)
    projection_us = timed(partial(project, rows, call.w_o, None, out), call.q.device)
    attention_us = timed(partial(attend, call, 0, call.tokens), call.q.device)
    step = max(1, granules // SAMPLES) * GRANULE
    cut_us: list[float] = []
    for begin in range(0, call.tokens, step):
        end = min(call.tokens, begin + step)
        us = timed(partial(attend, call, begin, end), call.q.device) + projection_us * (end - begin) / call.tokens
        before = cut_us[-1] if cut_us else 0.0
        parts = -(-(end - begin) // GRANULE)
        cut_us += [before + us * (i + 1) / parts for i in range(parts)]
    constant_us, per_token_us = _link_line(call, group, out)
    bytes_per_token = call.hidden * out.element_size()
    common = {
        "tokens": call.tokens,
        "granule": GRANULE,
        "bytes_per_token": float(bytes_per_token),
        "block_us": BLOCK_US.get(call.q.device.type, DEFAULT_BLOCK_US),
        "slowdown": SLOWDOWN,
        "link": {"large_us": constant_us, "large_us_per_byte": per_token_us / bytes_per_token},
    }
    whole_us = [attention_us + projection_us * (i + 1) / granules for i in range(granules)]
    return {"both": common | {"compute_us": cut_us}, "projection": common | {"compute_us": whole_us}}


def _link_line(call: Call, group: dist.ProcessGroup, out: torch.Tensor) -> tuple[float, float]:
    """Time of an all_reduce as constant and slope a token, through the shortest and the longest message."""
    times = []
    for tokens in sorted({min(call.tokens, GRANULE), call.tokens}):
        part = out[:tokens].zero_()
        times.append((tokens, timed(partial(dist.all_reduce, part, group=group), call.q.device)))
    (few, few_us), (many, many_us) = times[0], times[-1]
    slope = max(0.0, (many_us - few_us) / (many - few)) if many > few else few_us / few
    return max(1.0, few_us - slope * few), slope


def timed(work: Callable[[], Any], device: torch.device, repeats: int = REPEATS) -> float:
    """Median time of a call in µs, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        if device.type != "cpu":
            torch.accelerator.synchronize()
        start = time.perf_counter()
        work()
        if device.type != "cpu":
            torch.accelerator.synchronize()
        times.append((time.perf_counter() - start) * 1e6)
    return sorted(times[1:])[repeats // 2]
