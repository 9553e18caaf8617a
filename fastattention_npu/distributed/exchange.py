"""The pipeline with the AllReduce taken apart: a ring of partial sums, whose additions the projections do themselves,
then every owner hands its sums to all.

The attention is launched in regions, from the last tokens, which see most keys, to the first. Every rank owns an equal
range of each region. The sum of range c starts at rank c + 1, which projects its own heads and hands the partial sum
on; every further rank's product adds to what it received (beta = 1); the owner comes last, and in blocks, so that its
sums leave while it computes the next. No kernel but the products adds anything, and the transfers may run where
computing does not (peer_links.py: on a GPU's copy engines). What waits for nobody, the attention of each region and the
first products, runs in lanes of its own: where one has no work left for a multiprocessor, another has.
"""

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .call import Call, attend
from .schedule import Schedule, project


@dataclass(frozen=True)
class Rows:
    """Tokens begin ... end of one block's slice."""

    begin: int
    end: int

    def of(self, tensor: Tensor) -> Tensor:
        return tensor[self.begin : self.end]

    @property
    def count(self) -> int:
        return self.end - self.begin


class Links(Protocol):
    """How slices travel, and which work runs side by side. Every rank has a workspace of the result's shape; calls come
    in the same order on all."""

    rank: int
    ranks: int

    def enter(self) -> None:
        """What this rank did before is done once all before this is done."""

    def begin(self, like: Tensor) -> Tensor:
        """The workspace, like `like`, once no rank needs what it holds."""

    def lane(self, index: int) -> AbstractContextManager[object]:
        """What is done inside is done in order, after what came before the lane's first use in this call, and beside
        all other work."""

    def join(self, index: int, made: Tensor | None = None) -> None:
        """What is done next comes after what the lane has to do so far, and may use the tensor made there."""

    def send(self, rows: Rows) -> None:
        """Hands the workspace's rows to the next rank's workspace."""

    def receive(self, rows: Rows) -> None:
        """The workspace's rows now are what the previous rank sent."""

    def publish(self, rows: Rows) -> None:
        """Hands the workspace's rows, which are final, to every other rank's workspace: there nothing needs what they
        replace, for the last partial sum has come from there or passed there."""

    def collect(self, rows: Rows, owner: int) -> None:
        """The workspace's rows will be the owner's final ones."""

    def end(self) -> Tensor:
        """The result: the workspace, or a copy of it, complete for whatever the caller does next."""


def owner_at(rank: int, step: int, ranks: int) -> int:
    """Whose slice a rank projects in a step: its own in the last."""
    return (rank - 1 - step) % ranks


def slices(blocks: Sequence[int], owner: int, ranks: int, first: int = 0) -> list[Rows]:
    """An owner's part of every block of a region that begins at token `first`: the blocks are those of all ranks
    together, its range is cut in their proportions. Of fewer tokens than ranks some parts are empty."""
    tokens = sum(blocks)
    begin, end = (first + tokens * rank // ranks for rank in (owner, owner + 1))
    edges = [begin + (end - begin) * sum(blocks[:i]) // tokens for i in range(len(blocks) + 1)]
    return [Rows(a, b) for a, b in itertools.pairwise(edges)]


def halves(blocks: Sequence[int]) -> list[range]:
    """Blocks up to the middle and the rest: partial sums that are handed on have time to arrive, and the fewer products
    they come from the better."""
    middle = next(i for i in range(1, len(blocks) + 1) if 2 * sum(blocks[:i]) >= sum(blocks))
    return [part for part in (range(middle), range(middle, len(blocks))) if part]


def run_exchange(call: Call, links: Links, schedule: Schedule, *, overlap: bool = True) -> Tensor:
    """out (tokens, hidden) = sum over ranks of Attn · W_oᵀ + bias, the same bits on every rank; overlap False: every
    product is awaited before anything else is computed, which changes no bit."""
    return _Exchange(call, links, schedule, overlap).run()


class _Region:
    """The tokens of one launch of the attention, and this rank's heads' rows of them."""

    def __init__(self, begin: int, blocks: Sequence[int], lane: int) -> None:
        self.begin, self.blocks, self.lane = begin, blocks, lane
        self.halves = halves(blocks)
        self.heads: Tensor | None = None

    def cut(self, owner: int, ranks: int) -> list[Rows]:
        return slices(self.blocks, owner, ranks, self.begin)

    def pieces(self, owner: int, ranks: int) -> list[Rows]:
        """The owner's range as it travels."""
        cut = self.cut(owner, ranks)
        return [Rows(cut[half[0]].begin, cut[half[-1]].end) for half in self.halves]


class _Exchange:
    """One call on one rank."""

    def __init__(self, call: Call, links: Links, schedule: Schedule, overlap: bool) -> None:
        self.call, self.links, self.overlap = call, links, overlap
        starts = [0, *itertools.accumulate(map(sum, schedule.launches))]
        launches = [*zip(starts[:-1], schedule.launches, strict=True)][::-1]
        self.regions = [_Region(begin, blocks, lane) for lane, (begin, blocks) in enumerate(launches)]
        self.first_lane = len(self.regions)

    def run(self) -> Tensor:
        call, links = self.call, self.links
        links.enter()
        for region in self.regions:
            with self._lane(region.lane):
                region.heads = attend(call, region.begin, region.begin + sum(region.blocks))
        self.work = links.begin(call.q.new_empty((call.tokens, call.hidden), device="meta"))
        for region in self.regions:
            if links.ranks > 1:
                with self._lane(self.first_lane):
                    self._join(region)
                    self._hand_on(region, 0)
            self._join(region)
            for step in range(1, links.ranks - 1):
                self._hand_on(region, step)
            self._finish(region)
        for region in self.regions:
            for owner in range(links.ranks):
                for rows in region.cut(owner, links.ranks):
                    if owner != links.rank and rows.count:
                        links.collect(rows, owner)
        return links.end()

    def _lane(self, index: int) -> AbstractContextManager[object]:
        """A single region has no other whose work could run beside its own."""
        return self.links.lane(index) if len(self.regions) > 1 else nullcontext()

    def _join(self, region: _Region) -> None:
        if len(self.regions) > 1:
            self.links.join(region.lane, region.heads)

    def _hand_on(self, region: _Region, step: int) -> None:
        """Products whose sums go to the next rank: in step 0 the first of them."""
        links = self.links
        for rows in region.pieces(owner_at(links.rank, step, links.ranks), links.ranks):
            if rows.count:
                if step > 0:
                    links.receive(rows)
                self._project(region, rows, first=step == 0)
                links.send(rows)

    def _finish(self, region: _Region) -> None:
        """This rank's own range: its products complete the sums."""
        links = self.links
        own = region.cut(links.rank, links.ranks)
        for half, piece in zip(region.halves, region.pieces(links.rank, links.ranks), strict=True):
            if piece.count and links.ranks > 1:
                links.receive(piece)
            for rows in (own[block] for block in half):
                if rows.count:
                    self._project(region, rows, first=links.ranks == 1)
                    links.publish(rows)

    def _project(self, region: _Region, rows: Rows, *, first: bool) -> None:
        """Adds this rank's product to the workspace's rows; the first writes them."""
        call, into = self.call, rows.of(self.work)
        assert region.heads is not None
        heads = Rows(rows.begin - region.begin, rows.end - region.begin).of(region.heads)
        bias = call.bias if self.links.rank == 0 else None
        if first:
            project(heads, call.w_o, bias, into)
        else:
            into.addmm_(heads, call.w_o.t())
            if bias is not None:
                into += bias
        if not self.overlap:
            wait_for_device(into)


def wait_for_device(tensor: Tensor) -> None:
    if tensor.device.type != "cpu":
        torch.accelerator.synchronize()
