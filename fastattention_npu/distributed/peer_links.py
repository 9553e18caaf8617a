"""Links of exchange.py between GPUs that reach each other's memory: torch.distributed's symmetric memory for the
results, the copy engines for the transfers, and values in stream order for the signals. Nothing here takes a
multiprocessor from the products.

Counters only grow, so that they need no reset: PARTIAL and FINAL count the slices that a rank has sent and published,
ENTERED the calls whose predecessors' work its GPU has done. Each is told on one stream, in the order of its values.
"""

import logging
import socket
from contextlib import AbstractContextManager
from enum import IntEnum
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..cuda import driver
from .exchange import Rows
from .faults import explain_timeout
from .peer_memory import ResultMemory, SymmetricBuffer, meet
from .watch import Watch

COUNTER_BYTES = 4
_links: dict[tuple[str, int], "PeerLinks | None"] = {}
_log = logging.getLogger(__name__)


class Counter(IntEnum):
    PARTIAL = 0
    FINAL = 1
    ENTERED = 2


def peer_links(group: dist.ProcessGroup | None, device: torch.device) -> "PeerLinks | None":
    """The group's links, made once by all ranks together; None where GPUs cannot reach each other's memory, while a
    CUDA graph is captured (the counters' values would be frozen in it), and on other devices."""
    if group is None or device.type != "cuda" or dist.get_world_size(group) == 1:
        return None
    if torch.cuda.is_current_stream_capturing():
        return None
    index = torch.cuda.current_device() if device.index is None else device.index
    key = (group.group_name, index)
    if key not in _links:
        _links[key] = _connect(group, torch.device("cuda", index))
    return _links[key]


def _connect(group: dist.ProcessGroup, device: torch.device) -> "PeerLinks | None":
    """All ranks' links, or no rank's."""
    places: list[Any] = [None] * dist.get_world_size(group)
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    dist.all_gather_object(places, (socket.gethostname(), uuid), group=group)
    links = None
    if len({host for host, _ in places}) == 1 and len(set(places)) == len(places):
        try:
            links = PeerLinks(group, device)
        except (ImportError, RuntimeError, AttributeError) as error:  # a torch without it, or no way to the peer
            _log.info("no symmetric memory between the ranks of %s: %s", group.group_name, error)
    connected = torch.tensor([int(links is not None)], device=device)
    dist.all_reduce(connected, op=dist.ReduceOp.MIN, group=group)
    return links if int(connected) else None


class PeerLinks:
    """One rank's end, kept for the group's life."""

    def __init__(self, group: dist.ProcessGroup, device: torch.device) -> None:
        self.group, self.device = group, device
        self.rank, self.ranks = dist.get_rank(group), dist.get_world_size(group)
        self._others = [rank for rank in range(self.ranks) if rank != self.rank]
        self._sent = self._received = self._published = self._calls = 0
        self._collected = [0] * self.ranks
        self._partials, self._finals = (torch.cuda.Stream(device) for _ in range(2))
        self._lanes: list[torch.cuda.Stream] = []
        self._event = torch.cuda.Event()
        timeout_s = group._get_backend(device).options._timeout.total_seconds()
        self._watch = Watch(timeout_s)
        self._memory = ResultMemory(group, device, timeout_s)
        self._counters = SymmetricBuffer(len(Counter) * self.ranks * COUNTER_BYTES, group, device)
        self._counters.bytes.zero_()
        meet(group, device)

    def enter(self) -> None:
        self._watch.raise_if_failed()
        self._main = torch.cuda.current_stream(self.device)
        self._calls += 1
        self._used = set[int]()
        for rank in self._others:  # this GPU is done with all that came before
            self._tell(Counter.ENTERED, rank, self._calls, self._main)

    def begin(self, like: Tensor) -> Tensor:
        self._buffer, self._lends = self._memory.take(like, self._watch.raise_if_failed)
        self._pitch_bytes = like.size(1) * like.element_size()
        self._work = self._buffer.view(like)
        for rank in self._others:  # nobody uses this buffer any more, nor what this rank is going to overwrite
            self._wait(Counter.ENTERED, rank, self._calls, self._main)
        return self._work

    def lane(self, index: int) -> AbstractContextManager[object]:
        while len(self._lanes) <= index:
            self._lanes.append(torch.cuda.Stream(self.device))
        if index not in self._used:
            self._used.add(index)
            self._follow(self._main, self._lanes[index])
        return torch.cuda.stream(self._lanes[index])

    def join(self, index: int, made: Tensor | None = None) -> None:
        stream = torch.cuda.current_stream(self.device)
        self._follow(self._lanes[index], stream)
        if made is not None:
            made.record_stream(stream)

    def send(self, rows: Rows) -> None:
        target = (self.rank + 1) % self.ranks
        self._follow(torch.cuda.current_stream(self.device), self._partials)
        self._copy(target, rows, self._partials)
        self._sent += 1
        self._tell(Counter.PARTIAL, target, self._sent, self._partials)

    def receive(self, rows: Rows) -> None:
        self._received += 1
        self._wait(Counter.PARTIAL, (self.rank - 1) % self.ranks, self._received, self._main)

    def publish(self, rows: Rows) -> None:
        self._follow(self._main, self._finals)
        self._published += 1
        for rank in self._others:
            self._copy(rank, rows, self._finals)
            self._tell(Counter.FINAL, rank, self._published, self._finals)

    def collect(self, rows: Rows, owner: int) -> None:
        self._collected[owner] += 1

    def end(self) -> Tensor:
        for stream in (self._partials, self._finals):
            self._follow(stream, self._main)
        for rank in self._others:
            self._wait(Counter.FINAL, rank, self._collected[rank], self._main)
        out = self._buffer.lend(self._work) if self._lends else self._work.clone()
        self._watch.follow(self._main, explain_timeout(self.group), self._release)
        return out

    def _copy(self, target: int, rows: Rows, stream: torch.cuda.Stream) -> None:
        """Rows of this rank's buffer to the same place of another's."""
        at = rows.begin * self._pitch_bytes
        source, sink = (self._buffer.addresses[rank] + at for rank in (self.rank, target))
        driver.copy_async(sink, source, rows.count * self._pitch_bytes, stream.cuda_stream)

    def _follow(self, first: torch.cuda.Stream, then: torch.cuda.Stream) -> None:
        """What `then` does from now on comes after what `first` has to do so far."""
        self._event.record(first)
        then.wait_event(self._event)

    def _tell(self, counter: Counter, rank: int, value: int, stream: torch.cuda.Stream) -> None:
        driver.write_value(self._address(counter, rank, self.rank), value, stream.cuda_stream)

    def _wait(self, counter: Counter, rank: int, value: int, stream: torch.cuda.Stream) -> None:
        driver.wait_value(self._address(counter, self.rank, rank), value, stream.cuda_stream)

    def _address(self, counter: Counter, at: int, of: int) -> int:
        """Where rank `at` keeps what it knows of rank `of`."""
        return self._counters.addresses[at] + COUNTER_BYTES * (counter * self.ranks + of)

    def _release(self) -> None:
        """Lets go whatever still waits for a rank that does not answer; the results are void."""
        with torch.cuda.device(self.device):
            stream = torch.cuda.Stream(self.device)
            for counter in Counter:
                for rank in self._others:
                    far = max(self._sent, self._published, self._calls) + 2**30
                    driver.write_value(self._address(counter, self.rank, rank), far, stream.cuda_stream)
