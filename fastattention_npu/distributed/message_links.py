"""Links of exchange.py as messages of torch.distributed: for CPUs over gloo, and to test the exchange without GPUs."""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor

from .exchange import Rows
from .pipeline import wait


class MessageLinks:
    """Point-to-point messages; a message's tag says which rows it carries."""

    def __init__(self, group: dist.ProcessGroup, device: torch.device) -> None:
        self.group, self.device = group, device
        self.rank, self.ranks = dist.get_rank(group), dist.get_world_size(group)
        self._pending: list[dist.Work | None] = []

    def enter(self) -> None:
        self._pending = []

    def begin(self, like: Tensor) -> Tensor:
        self._work = torch.empty_like(like, device=self.device)
        return self._work

    def lane(self, index: int) -> AbstractContextManager[object]:
        return nullcontext()

    def join(self, index: int, made: Tensor | None = None) -> None:
        """What is done here is done when it returns."""

    def send(self, rows: Rows) -> None:
        self._send(rows, (self.rank + 1) % self.ranks)

    def receive(self, rows: Rows) -> None:
        self._wait(self._receive(rows.of(self._work), rows, (self.rank - 1) % self.ranks))

    def publish(self, rows: Rows) -> None:
        for rank in range(self.ranks):
            if rank != self.rank:
                self._send(rows, rank)

    def collect(self, rows: Rows, owner: int) -> None:
        self._wait(self._receive(rows.of(self._work), rows, owner))

    def end(self) -> Tensor:
        for request in self._pending:
            self._wait(request)
        return self._work

    def _wait(self, request: dist.Work | None) -> None:
        if request is not None:
            wait(request, self.group, self.device)

    def _send(self, rows: Rows, rank: int) -> None:
        # A slice goes from a rank to another once: partial sums away from its owner, final ones from it.
        target = dist.get_global_rank(self.group, rank)
        self._pending.append(dist.isend(rows.of(self._work), target, group=self.group, tag=rows.begin))

    def _receive(self, into: Tensor, rows: Rows, rank: int) -> dist.Work | None:
        return dist.irecv(into, dist.get_global_rank(self.group, rank), group=self.group, tag=rows.begin)
