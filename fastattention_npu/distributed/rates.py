"""Token blocks of the torch engines: op_host's planner with rates measured on this group, once per shape.

Computing is timed on a few ranges of the call's own tensors, the links on a few sizes; rank 0 plans and tells the
others, so that all cut alike. What the model prefers, and some forms that it cannot judge, are then timed, and
the fastest is kept only if it beats the sequential form by more than the timing's own noise.
"""

import itertools
import random
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from .._native import core
from .call import Call, attend
from .exchange import Links, Rows
from .peer_links import peer_links
from .pipeline import run_schedule
from .schedule import Schedule, each, project, uncut

GRANULE = 128
SAMPLES = 8
REPEATS = 3
SCREENED = 5  # timings of each form, to find the fastest
PAIRS = 15  # timings of that and of the sequential one
# Sixteenths of the tokens of each launch's blocks that are tried besides the model's: it knows nothing of launches that
# share the multiprocessors, nor of the heights that the library's products like. Parts of an owner have so many rows.
PARTS = (
    ((8, 8),),
    ((8, 4, 4),),
    ((4, 4, 4, 4),),
    ((8, 4, 2, 2),),
    ((4, 4), (8,)),
    ((4, 2, 2), (8,)),
    ((4, 2, 1, 1), (8,)),
    ((2, 2), (4,), (8,)),
    ((2, 1, 1), (4,), (8,)),
    ((2, 2), (4,), (4,), (4,)),
)
MIN_ROWS = 512
SURE = 0.75  # of the pairs must be faster
SLOWDOWN = 1.1  # of computing while the links are busy, and the other way round; assumed
BLOCK_US = {"cpu": 100.0}  # what a block costs besides: launches, a collective's start; assumed
DEFAULT_BLOCK_US = 20.0

_schedules: dict[tuple[Any, ...], Schedule] = {}


def choose_schedule(call: Call, group: dist.ProcessGroup | None) -> Schedule:
    """The schedule of a call: measured once for a group, device and shape."""
    if (
        group is None
        or dist.get_world_size(group) == 1
        or (call.q.is_cuda and torch.cuda.is_current_stream_capturing())
    ):
        return uncut(call.tokens)  # nothing to hide, or a CUDA graph being captured, where nothing can be timed
    shapes = (tuple(call.q.shape), tuple(call.k.shape), call.hidden, call.window, call.lengths)
    key = (group.group_name, str(call.q.device), call.q.dtype, *shapes)
    if key not in _schedules:
        _schedules[key] = fastest(call, group, candidates(call, group))
    return _schedules[key]


def forget() -> None:
    """Drops what was planned; the next call measures again."""
    _schedules.clear()


def candidates(call: Call, group: dist.ProcessGroup) -> list[Schedule]:
    """What rank 0's model makes of the measured rates, on every rank: for each form of the AllReduce its best."""
    links = peer_links(group, call.q.device)
    rates = _compute_us(call)
    forms = [_planned(_problems(call, rates, call.tokens, _link_line(call, group)))]
    if links is not None and call.tokens >= 2 * links.ranks * GRANULE:
        own = call.tokens // links.ranks
        # The second half of the work, own slices, hides what it publishes: the first half hides as much that is sent.
        whole = {"projection": rates["projection"]}
        plan = _planned(_problems(call, whole, own, _exchange_line(call, links, own)))
        blocks = [tokens * links.ranks for tokens in plan.blocks]
        blocks[-1] += call.tokens - sum(blocks)
        forms.append(Schedule((tuple(blocks),), exchange=True))
        least = MIN_ROWS * 16 * links.ranks
        forms += [parted(call.tokens, parts) for parts in PARTS if min(map(min, parts)) * call.tokens >= least]
    return [form for form in agree(forms, group) if form.pipelined]


def parted(tokens: int, sixteenths: Sequence[Sequence[int]]) -> Schedule:
    ends = [tokens * parts // 16 for parts in itertools.accumulate(itertools.chain(*sixteenths))]
    sizes = (end - begin for begin, end in itertools.pairwise([0, *ends]))
    return Schedule(tuple(tuple(itertools.islice(sizes, len(launch))) for launch in sixteenths), exchange=True)


def fastest(call: Call, group: dist.ProcessGroup, forms: Sequence[Schedule]) -> Schedule:
    """The form that is fastest on this machine, if it is surely faster than the sequential one; or that."""
    sequential = uncut(call.tokens)
    if not forms:
        return sequential
    medians = [statistics.median(column) for column in zip(*_rounds(call, group, forms, SCREENED), strict=True)]
    best = forms[medians.index(min(medians))]
    ratios = [base / form for base, form in _rounds(call, group, (sequential, best), PAIRS)]
    return best if sum(ratio > 1 for ratio in ratios) >= SURE * len(ratios) else sequential


def _rounds(call: Call, group: dist.ProcessGroup, forms: Sequence[Schedule], rounds: int) -> list[list[float]]:
    """Times of the slowest rank, [round][form]; in every round each form once, in random order."""
    device = call.q.device
    order = random.Random(0)  # the same on all ranks
    times = []
    for _ in range(rounds + 1):
        row = [0.0] * len(forms)
        for i in order.sample(range(len(forms)), len(forms)):
            row[i] = timed_once(partial(run_schedule, call, group, forms[i]), device, group)
        times.append(row)
    worst = torch.tensor(times[1:], device=device)
    dist.all_reduce(worst, op=dist.ReduceOp.MAX, group=group)
    return worst.tolist()


def agree(forms: Sequence[Schedule], group: dist.ProcessGroup) -> list[Schedule]:
    """Rank 0's schedules on every rank."""
    shared = [list(forms)]
    dist.broadcast_object_list(shared, dist.get_global_rank(group, 0), group=group)
    return shared[0]


def _planned(rates: dict[str, dict[str, Any]]) -> Schedule:
    """The better of op_host's plans for measured rates: everything in blocks, or the projection only."""
    plans = {form: core().plan_token_blocks(values) for form, values in rates.items()}
    best = min(plans, key=lambda form: plans[form]["model"]["pipelined_us"])
    blocks = tuple(plans[best]["blocks"])
    return Schedule((blocks,)) if best == "projection" else each(blocks)


def _problems(call: Call, rates: dict[str, list[float]], tokens: int, link: dict[str, float]) -> dict[str, Any]:
    """What plan_token_blocks needs for both forms, of as many tokens with their share of all computing."""
    granules = -(-tokens // GRANULE)
    common = {
        "tokens": tokens,
        "granule": GRANULE,
        "bytes_per_token": 1.0,
        "block_us": BLOCK_US.get(call.q.device.type, DEFAULT_BLOCK_US),
        "slowdown": SLOWDOWN,
        "link": link,
    }
    return {form: common | {"compute_us": _resampled(us, granules, tokens / call.tokens)} for form, us in rates.items()}


def _resampled(us: list[float], granules: int, share: float) -> list[float]:
    """The cumulative times at as many equal steps, times share."""
    return [us[min(len(us), -(-(i + 1) * len(us) // granules)) - 1] * share for i in range(granules)]


def _compute_us(call: Call) -> dict[str, list[float]]:
    """Cumulative computing times by granule: with the attention cut into SAMPLES, and with the attention first."""
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
    return {"both": cut_us, "projection": [attention_us + projection_us * (i + 1) / granules for i in range(granules)]}


def _link_line(call: Call, group: dist.ProcessGroup) -> dict[str, float]:
    """Time of an all_reduce by its tokens, a line through the shortest and the longest message."""
    out = call.q.new_zeros((call.tokens, call.hidden))
    return _line(call, call.tokens, lambda tokens: partial(dist.all_reduce, out[:tokens], group=group))


def _exchange_line(call: Call, links: Links, own: int) -> dict[str, float]:
    """Time of publishing own rows and collecting as many of every other rank, by the rows."""
    like = call.q.new_empty((call.tokens, call.hidden), device="meta")

    def exchange(tokens: int) -> None:
        links.enter()
        rows = [Rows(owner * own, owner * own + tokens) for owner in range(links.ranks)]
        links.begin(like)
        links.publish(rows[links.rank])
        for owner in range(links.ranks):
            if owner != links.rank:
                links.collect(rows[owner], owner)
        links.end()

    return _line(call, own, lambda tokens: partial(exchange, tokens))


def _line(call: Call, tokens: int, work: Callable[[int], Callable[[], Any]]) -> dict[str, float]:
    times = [(count, timed(work(count), call.q.device)) for count in sorted({min(tokens, GRANULE), tokens})]
    (few, few_us), (many, many_us) = times[0], times[-1]
    slope = max(0.0, (many_us - few_us) / (many - few)) if many > few else few_us / few
    return {"large_us": max(1.0, few_us - slope * few), "large_us_per_byte": slope}


def timed(work: Callable[[], Any], device: torch.device, repeats: int = REPEATS) -> float:
    """Median time of a call in µs, after one to warm up."""
    return statistics.median([timed_once(work, device) for _ in range(repeats + 1)][1:])


def timed_once(work: Callable[[], Any], device: torch.device, group: dist.ProcessGroup | None = None) -> float:
    """Time of a call in µs; begun together with the other ranks of a group."""
    if group is not None:
        dist.barrier(group)
    if device.type != "cpu":
        torch.accelerator.synchronize()
    start = time.perf_counter()
    work()
    if device.type != "cpu":
        torch.accelerator.synchronize()
    return (time.perf_counter() - start) * 1e6
