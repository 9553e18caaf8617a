"""Streams, events, pinned memory and memory limits of whatever accelerator there is, under one set of names.

torch.cuda and torch.npu offer the same functions; for "cpu" everything is a no-op, so that the cooperative code has one
path. Nothing here knows about attention.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch


class DeviceError(RuntimeError):
    """A device or a memory cannot do what was asked; says which, how much, and what would help."""


def host_free_bytes() -> int:
    """Bytes of host memory that can still be allocated (Linux's estimate; elsewhere free pages)."""
    info = Path("/proc/meminfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class Accelerator:
    """One device's streams and memory. `copies` is the stream on which transfers run beside the computation."""

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.present = self.device.type != "cpu"
        self.api: Any = getattr(torch, self.device.type, None)
        if self.present and self.device.index is None:
            self.device = torch.device(self.device.type, self.api.current_device())
        self.limit_bytes: int | None = None
        self.copies: Any = self.api.Stream(device=self.device) if self.api is not None and self.present else None

    def limit_memory(self, limit_bytes: int) -> None:
        """Cap what torch's allocator may take on this device: what exceeds it fails as on a smaller card."""
        self.limit_bytes = limit_bytes
        if not self.present:
            return
        total = self.api.mem_get_info(self.device)[1]
        if limit_bytes > total:
            raise DeviceError(f"memory limit {limit_bytes} bytes exceeds the {total} bytes of {self.device}")
        self.api.empty_cache()
        self.api.set_per_process_memory_fraction(limit_bytes / total, self.device)

    def free_bytes(self) -> int:
        """Bytes that may still be allocated, under the limit if there is one."""
        if not self.present:
            return host_free_bytes() if self.limit_bytes is None else self.limit_bytes
        free, _ = self.api.mem_get_info(self.device)
        reserved = self.api.memory_reserved(self.device)
        unused = reserved - self.api.memory_allocated(self.device)
        if self.limit_bytes is None:
            return int(free + unused)
        return int(min(free + unused, self.limit_bytes - self.api.memory_allocated(self.device)))

    def host_tensor(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Host memory that the device can copy from and to asynchronously."""
        return torch.empty(shape, dtype=dtype, pin_memory=self.present)

    @contextlib.contextmanager
    def copying(self, after_compute: bool = True) -> Iterator[None]:
        """Run the block's transfers on the copy stream, after what the compute stream has been given so far."""
        if not self.present:
            yield
            return
        if after_compute:
            self.copies.wait_stream(self.api.current_stream(self.device))
        with self.api.stream(self.copies):
            yield

    def graph_pool(self) -> Any:
        """A memory pool for graphs that are made and dropped together; None where there are no graphs."""
        return self.api.graph_pool_handle() if self.present and hasattr(self.api, "CUDAGraph") else None

    def capture(self, work: Callable[[], None], pool: Any) -> Callable[[], None]:
        """`work` as one launch, where the device has graphs (CUDA); elsewhere `work` itself.

        It must read and write tensors that stay where they are, and wait for nothing. Graphs of one pool reuse its
        memory, so what a graph leaves must lie in tensors made outside.
        """
        if pool is None:
            return work
        current, side, graph = self.api.current_stream(self.device), self.api.Stream(self.device), self.api.CUDAGraph()
        side.wait_stream(current)
        with self.api.stream(side):
            work()  # libraries choose their kernels and take their workspaces outside the capture
            graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            work()
            graph.capture_end()
        current.wait_stream(side)
        return graph.replay

    def mark(self, copies: bool = False) -> Any:
        """An event after everything given to the copy or the compute stream so far."""
        if not self.present:
            return None
        event = self.api.Event()
        event.record(self.copies if copies else self.api.current_stream(self.device))
        return event

    def compute_waits(self, event: Any) -> None:
        if event is not None:
            self.api.current_stream(self.device).wait_event(event)

    def copies_wait(self, event: Any) -> None:
        if event is not None:
            self.copies.wait_event(event)

    def host_waits(self, event: Any) -> None:
        if event is not None:
            event.synchronize()

    def synchronize(self) -> None:
        if self.present:
            self.api.synchronize(self.device)
