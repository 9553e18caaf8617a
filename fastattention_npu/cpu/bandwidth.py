"""The yardstick for decode: the read bandwidth that a loop of plain loads reaches over given tensors."""

from __future__ import annotations

import time

import torch

from fastattention_npu._native import core


def read_bandwidth_gbps(*tensors: torch.Tensor, threads: int | None = None, repeats: int = 3) -> float:
    """Best of `repeats` read passes over contiguous CPU tensors of equal size, in GB/s (1e9 bytes).

    Args:
        tensors: contiguous CPU tensors, all of the same number of bytes.
        threads: worker threads, default torch.get_num_threads().
        repeats: passes; the fastest counts.
    Returns: GB/s.
    Raises: ValueError if a tensor is not on the CPU, not contiguous, or of another size.
    Limits: tensors smaller than the last-level cache measure the cache.
    Source: the read half of STREAM (McCalpin); measured where it runs.
    """
    sizes = {t.numel() * t.element_size() for t in tensors}
    if len(sizes) != 1 or any(t.device.type != "cpu" or not t.is_contiguous() for t in tensors):
        raise ValueError(
            "read_bandwidth_gbps: needs contiguous CPU tensors of one size; got "
            + ", ".join(
                f"{tuple(t.shape)} {t.dtype} on {t.device}{'' if t.is_contiguous() else ' (strided)'}" for t in tensors
            )
        )
    size = sizes.pop()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        core().cpu_read_bandwidth_probe([t.data_ptr() for t in tensors], size, threads or torch.get_num_threads())
        best = min(best, time.perf_counter() - start)
    return len(tensors) * size / best / 1e9
