"""The pipeline with the AllReduce taken apart: a ring of partial sums, whose additions the projections do themselves,
then every owner hands its sums to all.

Every rank owns an equal range of the tokens. The sum of range c starts at rank c + 1, which projects its own heads and
hands the partial sum on; every further rank's product adds to what it received (beta = 1); the owner comes last, and in
blocks, so that its sums leave while it computes the next. No kernel but the products adds anything, and the transfers
may run where computing does not (peer_links.py: on a GPU's copy engines).
"""

import itertools
from collections.abc import Sequence
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
    """How slices travel. Every rank has a workspace of the result's shape; calls come in the same order on all."""

    rank: int
    ranks: int

    def enter(self) -> None:
        """What this rank did before is done once all before this is done."""

    def begin(self, like: Tensor) -> Tensor:
        """The workspace, like `like`, once no rank needs what it holds."""

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


def slices(blocks: Sequence[int], owner: int, ranks: int) -> list[Rows]:
    """An owner's part of every block: the blocks are those of all ranks together, its range is cut in their
    proportions. Of fewer tokens than ranks some parts are empty."""
    tokens = sum(blocks)
    begin, end = (tokens * rank // ranks for rank in (owner, owner + 1))
    edges = [begin + (end - begin) * sum(blocks[:i]) // tokens for i in range(len(blocks) + 1)]
    return [Rows(a, b) for a, b in itertools.pairwise(edges)]


def halves(blocks: Sequence[int]) -> list[range]:
    """Blocks up to the middle and the rest: partial sums that are handed on have time to arrive, and the fewer products
    they come from the better."""
    middle = next(i for i in range(1, len(blocks) + 1) if 2 * sum(blocks[:i]) >= sum(blocks))
    return [part for part in (range(middle), range(middle, len(blocks))) if part]


def run_exchange(call: Call, links: Links, schedule: Schedule, *, overlap: bool = True) -> Tensor:
    """out (tokens, hidden) = sum over ranks of Attn · W_oᵀ + bias, the same bits on every rank; overlap False: every
    transfer is awaited before anything else is computed, which changes no bit."""
    return _Exchange(call, links, schedule, overlap).run()


class _Exchange:
    """One call on one rank."""

    def __init__(self, call: Call, links: Links, schedule: Schedule, overlap: bool) -> None:
        self.call, self.links, self.overlap = call, links, overlap
        self.blocks = schedule.blocks
        self.halves = halves(schedule.blocks)
        links.enter()
        self.whole = attend(call, 0, call.tokens) if schedule.whole_attention else None
        self.work: Tensor | None = None

    def run(self) -> Tensor:
        links = self.links
        for step in range(links.ranks - 1):
            for rows in self._pieces(owner_at(links.rank, step, links.ranks)):
                self._project(rows, rows if step > 0 else None, first=step == 0)
                if rows.count:
                    links.send(rows)
        own = slices(self.blocks, links.rank, links.ranks)
        for half, piece in zip(self.halves, self._pieces(links.rank), strict=True):
            for block in half:
                alone = links.ranks == 1
                self._project(own[block], piece if block == half[0] and not alone else None, first=alone)
                if own[block].count:
                    links.publish(own[block])
        for owner in range(links.ranks):
            for rows in slices(self.blocks, owner, links.ranks):
                if owner != links.rank and rows.count:
                    links.collect(rows, owner)
        return links.end()

    def _pieces(self, owner: int) -> list[Rows]:
        """The owner's range as it travels."""
        cut = slices(self.blocks, owner, self.links.ranks)
        return [Rows(cut[half[0]].begin, cut[half[-1]].end) for half in self.halves]

    def _project(self, rows: Rows, due: Rows | None, *, first: bool) -> None:
        """Adds this rank's product to the workspace's rows, once `due` has arrived; the first writes them."""
        call, links = self.call, self.links
        heads = None
        if rows.count:
            heads = attend(call, rows.begin, rows.end) if self.whole is None else rows.of(self.whole)
        if self.work is None:
            self.work = links.begin(call.q.new_empty((call.tokens, call.hidden), device="meta"))
        if due is not None and due.count:
            links.receive(due)
        if heads is not None:
            _add_projection(call, links.rank, heads, rows.of(self.work), first=first)
        if not self.overlap:
            wait_for_device(self.work)


def _add_projection(call: Call, rank: int, heads: Tensor, part: Tensor, *, first: bool) -> None:
    bias = call.bias if rank == 0 else None
    if first:
        project(heads, call.w_o, bias, part)
        return
    part.addmm_(heads, call.w_o.t())
    if bias is not None:
        part += bias


def wait_for_device(tensor: Tensor) -> None:
    if tensor.device.type != "cpu":
        torch.accelerator.synchronize()
