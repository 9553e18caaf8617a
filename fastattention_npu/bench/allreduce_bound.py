"""How far token blocks can shorten a row of `fastattn bench allreduce`: the least time that the planner's model has for
any blocks (distributed/block_model.py), what it consists of, and what would have to differ for a given speed-up.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..distributed.block_model import Problem, least

ASKED = 1.35
FACTORS = 100


@dataclass(frozen=True)
class Terms:
    """What a schedule's time consists of, in µs: they add up to it."""

    launch_us: float
    first_us: float  # computing until the first block is ready
    idle_us: float  # in which the links wait afterwards
    wire_us: float  # all bytes at the rate of large messages
    messages_us: float  # what the messages take besides
    slowdown_us: float  # of what is sent beside computing

    @property
    def total_us(self) -> float:
        return sum(vars(self).values())

    def __str__(self) -> str:
        return " + ".join(f"{name.removesuffix('_us')} {us:.0f}" for name, us in vars(self).items())


def terms(p: Problem, blocks: tuple[int, ...], launch_us: float = 0.0) -> Terms:
    """Of blocks in tokens."""
    wire = p.link["large_us_per_byte"] * p.tokens * p.bytes_per_token
    end, idle, first, sent = 0.0, 0.0, 0.0, 0.0
    for j, at in enumerate(itertools.accumulate(blocks)):
        ready = p.ready_us(at, blocks[j], j + 1, len(blocks))
        first = ready if j == 0 else first
        idle += max(0.0, ready - end) if j > 0 else 0.0
        end = max(ready, end) + p.send_us(blocks[j])
        sent += p.send_us(blocks[j])
    beside = sent - (end - p.computed_us(p.tokens, len(blocks)))
    return Terms(launch_us, first, idle, wire, sent - wire, (p.slowdown - 1) * beside)


def speedup(p: Problem, launch_us: float) -> float:
    """The largest of any blocks."""
    return (p.sequential_us + launch_us) / (least(p)[0] + launch_us)


def needed(change: Callable[[float], Problem], launch_us: float, asked: float = ASKED) -> float | None:
    """The largest factor of 1.00, 0.99, ... 0 with which the changed problem has the speed-up; None if none has."""
    factors = (i / FACTORS for i in range(FACTORS, -1, -1))
    return next((x for x in factors if speedup(change(x), launch_us) >= asked), None)


def bound(values: Mapping[str, Any], launch_us: float, sequential_us: float) -> dict[str, Any]:
    """Of a row with op_host's problem, whose sequential form has been simulated: computing is scaled to that, so that
    both sides of the ratio are the same kernel's."""
    p = Problem.of(values).as_simulated(sequential_us, launch_us)
    us, blocks = least(p)
    parts = terms(p, blocks, launch_us)
    free = replace(p, lag_us_per_token=0.0, block_us=0.0)
    return {
        "blocks": list(blocks),
        "multiples_of": p.cuts[1],
        "least_us": us + launch_us,
        "terms": vars(parts),
        "text": str(parts),
        "speedup": sequential_us / (us + launch_us),
        "asked_us": sequential_us / ASKED,
        "speedup_without_lag": sequential_us / least(free)[0],
        "speedup_without_slowdown": speedup(replace(p, slowdown=1.0), launch_us),
        "needed_messages": needed(lambda x: p.with_link(messages=x), launch_us),
        "needed_wire": needed(lambda x: p.with_link(wire=x), launch_us),
    }
