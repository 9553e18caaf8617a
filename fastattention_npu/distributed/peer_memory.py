"""Buffers that every rank of a group can address on all of its GPUs, lent out as results.

A result that lies in such a buffer needs no copy out of a workspace; but the others may write to it again only when
every rank's caller has let go of its own. So each rank says in shared host memory which of its buffers are free, and
all take the first that is free everywhere.
"""

import mmap
import os
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

ALIGN_BYTES = 2 << 20
MAX_LENT = 2  # buffers for results; while both are in use, results are copied out of a third
SPINS = 200  # looks at the others' words before sleeping between them
SLEEP_S = 2e-5


class SymmetricBuffer:
    """A buffer on this GPU with the addresses of its counterparts, by rank."""

    def __init__(self, count_bytes: int, group: dist.ProcessGroup, device: torch.device) -> None:
        import torch.distributed._symmetric_memory as symmetric_memory

        self.bytes = symmetric_memory.empty(count_bytes, dtype=torch.uint8, device=device)
        handle = symmetric_memory.rendezvous(self.bytes, group)
        self.addresses = [int(address) for address in handle.buffer_ptrs]
        self._borrower: weakref.ref[_Borrowed] | None = None

    @property
    def free(self) -> bool:
        return self._borrower is None or self._borrower() is None

    def view(self, like: Tensor) -> Tensor:
        """The buffer's beginning as a tensor of like's shape."""
        return self.bytes[: like.numel() * like.element_size()].view(like.dtype).view(like.shape)

    def lend(self, like: Tensor) -> Tensor:
        """The same as a tensor of its own: the buffer is free again once its memory is no tensor's any more."""
        borrowed = _Borrowed(self.view(like).view(torch.int16))
        self._borrower = weakref.ref(borrowed)
        return torch.as_tensor(borrowed, device=self.bytes.device).view(like.dtype)


class _Borrowed:
    """What a lent tensor's storage holds on to; its end is the storage's end."""

    def __init__(self, memory: Tensor) -> None:
        self._memory = memory
        self.__cuda_array_interface__ = memory.__cuda_array_interface__


class HostBoard:
    """A word of every rank of one host, read by all: two of each, for a rank may be one call ahead of another."""

    def __init__(self, group: dist.ProcessGroup, timeout_s: float) -> None:
        self._rank, ranks = dist.get_rank(group), dist.get_world_size(group)
        self._timeout_s = timeout_s
        name: list[Any] = [None]
        count_bytes = 16 * ranks
        if self._rank == 0:
            handle, name[0] = tempfile.mkstemp(prefix="fastattn-", dir="/dev/shm")
            os.ftruncate(handle, count_bytes)
        dist.broadcast_object_list(name, dist.get_global_rank(group, 0), group=group)
        if self._rank != 0:
            handle = os.open(name[0], os.O_RDWR)
        self._words = memoryview(mmap.mmap(handle, count_bytes)).cast("q")  # [parity][rank]
        os.close(handle)
        self._ranks = ranks
        dist.barrier(group)
        if self._rank == 0:
            os.unlink(name[0])

    def exchange(self, call: int, word: int, failed: Callable[[], None]) -> list[int]:
        """All ranks' words (0 ... 255) of a call, numbered from 1. RuntimeError past the group's timeout."""
        first = call % 2 * self._ranks
        self._words[first + self._rank] = call << 8 | word
        deadline = time.monotonic() + self._timeout_s
        spins = 0
        while any(self._words[first + rank] >> 8 != call for rank in range(self._ranks)):
            spins += 1
            if spins <= SPINS:
                continue
            failed()
            if time.monotonic() > deadline:
                raise RuntimeError("timed out waiting for the other ranks to begin the call")
            time.sleep(SLEEP_S)
        return [self._words[first + rank] & 255 for rank in range(self._ranks)]


def first_free_everywhere(words: Sequence[int]) -> int | None:
    """The lowest bit that all words have."""
    common = words[0]
    for word in words[1:]:
        common &= word
    return (common & -common).bit_length() - 1 if common else None


class ResultMemory:
    """The buffers of one group's calls on one GPU."""

    def __init__(self, group: dist.ProcessGroup, device: torch.device, timeout_s: float) -> None:
        self._group, self._device = group, device
        self._board = HostBoard(group, timeout_s)
        self._lent: list[SymmetricBuffer] = []
        self._workspace: SymmetricBuffer | None = None
        self._calls = 0

    def take(self, like: Tensor, failed: Callable[[], None]) -> tuple[SymmetricBuffer, bool]:
        """A buffer for a result of like's size, and whether the result may stay in it; the same on all ranks."""
        count_bytes = -(-like.numel() * like.element_size() // ALIGN_BYTES) * ALIGN_BYTES
        self._calls += 1
        self._lent = [buffer for buffer in self._lent if buffer.bytes.numel() >= count_bytes]
        word = sum(buffer.free << i for i, buffer in enumerate(self._lent))
        index = first_free_everywhere(self._board.exchange(self._calls, word, failed))
        if index is not None:
            return self._lent[index], True
        if len(self._lent) < MAX_LENT:
            self._lent.append(self._new(count_bytes))
            return self._lent[-1], True
        if self._workspace is None or self._workspace.bytes.numel() < count_bytes:
            self._workspace = self._new(count_bytes)
        return self._workspace, False

    def _new(self, count_bytes: int) -> SymmetricBuffer:
        meet(self._group, self._device)
        buffer = SymmetricBuffer(count_bytes, self._group, self._device)
        meet(self._group, self._device)
        return buffer


def meet(group: dist.ProcessGroup, device: torch.device) -> None:
    """All ranks' GPUs are idle."""
    torch.cuda.synchronize(device)
    dist.barrier(group, device_ids=[device.index])
    torch.cuda.synchronize(device)
