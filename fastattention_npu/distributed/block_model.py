"""The planner's model of token blocks (docs/allreduce.md, op_host/token_blocks.cpp), searched completely.

Counted in computed work instead of time the model is a queue, for what is sent beside computing goes on as if alone and
only time takes longer. With n blocks, C computing, A(m) one AllReduce, s the slowdown of what runs side by side:

    ready_j = min(C, C(t_j) + j block_us + lag m_j)        in work
    end_j   = max(ready_j, end_{j-1}) + A(m_j)             beyond C work is time
    T       = (2 - s) end_n + (s - 1) (sum of A + C)

Two beginnings of as many blocks up to the same token go on alike, so the one with the larger end and the larger sum of
A can be dropped: what is left is searched completely.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

MAX_STEPS = 64  # cuts that are tried; with more granules, several are taken together
Schedule = tuple[float, tuple[int, ...]]  # time in us, blocks in tokens
Label = tuple[float, float, tuple[int, ...]]  # end, sum of A, blocks in tokens


@dataclass(frozen=True)
class Problem:
    """op_host's BlockProblem, whose keys these are; times in µs."""

    tokens: int
    granule: int
    compute_us: tuple[float, ...]
    lag_us_per_token: float
    block_us: float
    bytes_per_token: float
    slowdown: float
    link: Mapping[str, float]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Problem":
        return cls(**{**values, "compute_us": tuple(values["compute_us"])})

    @property
    def cuts(self) -> list[int]:
        """Tokens from 0 to all where blocks may end."""
        step = -(-len(self.compute_us) // MAX_STEPS) * self.granule
        return [*range(0, self.tokens, step), self.tokens]

    def send_us(self, tokens: int) -> float:
        """A: one AllReduce."""
        link, x = self.link, tokens * self.bytes_per_token
        if x < link["switch_bytes"]:
            return (link["small_us_per_byte"] - link["small_bend_us_per_byte2"] * x) * x + link["small_us"]
        return link["large_us_per_byte"] * x + link["large_us"]

    def computed_us(self, tokens: int, blocks: int) -> float:
        """C of the tokens before that one, in so many blocks."""
        whole, part = divmod(tokens, self.granule)
        before = self.compute_us[whole - 1] if whole else 0.0
        after = self.compute_us[whole] if part else before
        return before + (after - before) * part / self.granule + blocks * self.block_us

    def ready_us(self, end: int, tokens: int, number: int, blocks: int) -> float:
        """Of the number-th of the blocks, with so many tokens, before `end`."""
        late = self.computed_us(end, number) + self.lag_us_per_token * tokens
        return min(self.computed_us(self.tokens, blocks), late)

    def total_us(self, end: float, sent: float, blocks: int) -> float:
        return (2 - self.slowdown) * end + (self.slowdown - 1) * (sent + self.computed_us(self.tokens, blocks))

    @property
    def sequential_us(self) -> float:
        return self.computed_us(self.tokens, 1) + self.send_us(self.tokens)

    def with_compute(self, factor: float) -> "Problem":
        return replace(self, compute_us=tuple(us * factor for us in self.compute_us))

    def as_simulated(self, sequential_us: float, launch_us: float) -> "Problem":
        """With computing scaled so that one block takes as long as the simulated sequential form."""
        compute_us = sequential_us - launch_us - self.send_us(self.tokens) - self.block_us
        return self.with_compute(compute_us / self.compute_us[-1])

    def with_link(self, *, messages: float = 1.0, wire: float = 1.0) -> "Problem":
        """Other constants of a message, or other times of a byte."""
        link = dict(self.link)
        for key in link:
            if key.endswith(("_per_byte", "_per_byte2")):
                link[key] *= wire
            elif key != "switch_bytes":
                link[key] *= messages
        return replace(self, link=link)


def least(p: Problem) -> Schedule:
    """The least time of any blocks, and those in tokens."""
    return near_least(p, 0.0)[0]


def near_least(p: Problem, within: float) -> list[Schedule]:
    """For each number of blocks the least time, where that is at most 1 + within of the least of all; the least
    first."""
    cuts = p.cuts
    shortest = min(p.send_us(p.tokens - at) for at in cuts[:-1])
    below_us = math.inf  # what a schedule must beat
    found: list[Schedule] = []
    sums = [[math.inf] * (len(cuts) - 1) + [0.0]]  # [blocks][cut]: the least sum of A from there to the end
    for count in range(1, len(cuts)):
        last = sums[-1]
        sums.append([min((p.send_us(cuts[b] - cuts[a]) + last[b] for b in range(a + 1, len(cuts))), default=math.inf)
                     for a in range(len(cuts))])  # fmt: skip
        # The last block is sent when all is computed; every further block adds to both.
        least_end = max(sums[-1][0], p.computed_us(p.tokens, count) + shortest)
        if p.total_us(least_end, sums[-1][0], count) >= below_us:
            break
        schedule = _least_of(p, cuts, count, sums, below_us)
        if schedule[1]:
            found.append(schedule)
            below_us = min(below_us, schedule[0] * (1 + within))
    found.sort(key=lambda schedule: schedule[0])
    return [schedule for schedule in found if schedule[0] <= found[0][0] * (1 + within)]


def _least_of(p: Problem, cuts: list[int], count: int, sums: list[list[float]], below_us: float) -> Schedule:
    """Of so many blocks; (below_us, ()) if none takes less."""
    n = len(cuts) - 1
    front: dict[int, list[Label]] = {0: [(0.0, 0.0, ())]}
    for j in range(1, count + 1):
        grown: dict[int, list[Label]] = {}
        for begin, labels in front.items():
            for at in [n] if j == count else range(begin + 1, n - (count - j) + 1):
                tokens = cuts[at] - cuts[begin]
                send, ready = p.send_us(tokens), p.ready_us(cuts[at], tokens, j, count)
                left = sums[count - j][at]
                for end, sent, blocks in labels:
                    finish = max(ready, end) + send
                    if p.total_us(finish + left, sent + send + left, count) < below_us:
                        grown.setdefault(at, []).append((finish, sent + send, (*blocks, tokens)))
        front = {at: list(_undominated(labels)) for at, labels in grown.items()}
    found = [(p.total_us(end, sent, count), blocks) for end, sent, blocks in front.get(n, [])]
    return min([(below_us, ()), *found], key=lambda pair: pair[0])


def _undominated(labels: list[Label]) -> Iterator[Label]:
    """Those that no other beats in both."""
    least_sum = math.inf
    for label in sorted(labels):
        if label[1] < least_sum:
            least_sum = label[1]
            yield label
