"""Measures what plan_offload needs, on the machine that will run: bandwidths, latencies and free memory.

Every figure is the median of a few repeats over samples large enough to leave the caches. Nothing is assumed; a machine
without an accelerator gets its own memory's numbers for both sides.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from .attention import HostWorker
from .cache import CooperativeKVCache
from .card_attention import card_attention
from .device import Accelerator, host_free_bytes
from .llama import Decoder
from .plan import GB, CacheShape, Machine, OffloadPlan

SAMPLE_BYTES = 1 << 30  # of one K and V sample and of one copy
REPEATS = 15


def median_seconds(accelerator: Accelerator, work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Wall time of the middle run, the device idle before and after; one run unmeasured."""
    times = []
    for _ in range(repeats + 1):
        accelerator.synchronize()
        start = time.perf_counter()
        work()
        accelerator.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[repeats // 2]


def copy_gbps(accelerator: Accelerator, to_device: bool, sample_bytes: int = SAMPLE_BYTES) -> float:
    """Pinned copies in one direction, GB/s."""
    host = accelerator.host_tensor((sample_bytes,), torch.uint8)
    device = torch.empty(sample_bytes, dtype=torch.uint8, device=accelerator.device)
    source, target = (host, device) if to_device else (device, host)
    return sample_bytes / median_seconds(accelerator, lambda: target.copy_(source, non_blocking=True)) / GB


def decode_seconds(
    accelerator: Accelerator, shape: CacheShape, heads: int, tokens: int, dtype: torch.dtype, worker: HostWorker | None
) -> float:
    """One layer's decode attention of `heads` KV heads: on the accelerator, or through the worker to the host."""
    group = shape.heads // shape.kv_heads
    small = CacheShape(1, heads * group, heads, shape.head_dim, shape.batch, tokens + 1, dtype.itemsize)
    plan = OffloadPlan(small, (heads if worker is not None else 0,))
    with CooperativeKVCache(plan, accelerator, dtype) as cache:
        for pair in (cache.host[0], cache.device[0]):
            for x in pair:
                x.normal_()
        cache.length = tokens
        q = torch.randn(shape.batch, 1, heads * group, shape.head_dim, device=accelerator.device).to(dtype)
        new = torch.randn(shape.batch, 1, heads, shape.head_dim, device=accelerator.device).to(dtype)
        if worker is None:
            used = torch.full((shape.batch,), tokens + 1, dtype=torch.int32, device=accelerator.device)
            attend, _ = card_attention(accelerator, dtype)
            return median_seconds(accelerator, lambda: attend(q, *cache.device[0], used, tokens + 1))
        return median_seconds(
            accelerator, lambda: worker.attend(cache, 0, q, (new, new)).result().to(accelerator.device)
        )  # fmt: skip


def read_rate(
    accelerator: Accelerator, shape: CacheShape, dtype: torch.dtype, worker: HostWorker | None, sample_bytes: int
) -> tuple[float, float]:
    """(GB/s of K and V, seconds without any bytes) from a long and a short cache."""
    row = 2 * shape.batch * shape.kv_heads * shape.head_dim * dtype.itemsize
    # As long as the sample allows, even beyond the shape's tokens: a short one would measure the caches.
    long = max(64, sample_bytes // row)
    short = 16
    slow = decode_seconds(accelerator, shape, shape.kv_heads, long, dtype, worker)
    quick = decode_seconds(accelerator, shape, shape.kv_heads, short, dtype, worker)
    return row * (long - short) / max(slow - quick, 1e-9) / GB, quick


def layer_seconds(decoder: Decoder, batch: int, worker: HostWorker, cpu_heads: int) -> float:
    """One layer of a decode step with hardly any tokens, `cpu_heads` of its heads on the host."""
    config, accelerator = decoder.config, decoder.accelerator
    shape = config.cache_shape(batch, 16, decoder.dtype.itemsize)
    with CooperativeKVCache(OffloadPlan(shape, (cpu_heads,) * config.layers), accelerator, decoder.dtype) as cache:
        tokens = torch.zeros(batch, dtype=torch.long)

        def step() -> None:
            cache.length = 1
            decoder.decode_step([(tokens, cache)], worker)

        return median_seconds(accelerator, step) / config.layers


def measure_machine(
    accelerator: Accelerator,
    shape: CacheShape,
    dtype: torch.dtype,
    worker: HostWorker,
    decoder: Decoder | None = None,
    sample_bytes: int = SAMPLE_BYTES,
) -> Machine:
    """All of plan.Machine, measured here and now (a few seconds).

    Args:
        accelerator, dtype: where and in what type the cache will be.
        shape: the cache to be planned: its heads, head_dim and batch shape the samples.
        worker: the host worker that will be used, with its thread count.
        decoder: for dense_s; without one it is 0 and the prediction covers attention only.
        sample_bytes: size of the samples; smaller is quicker and, below the last-level cache, too optimistic.
    Returns: a Machine.
    Raises: CacheError or torch's errors when not even the samples fit.
    """
    cpu_gbps, round_trip_s = read_rate(accelerator, shape, dtype, worker, sample_bytes)
    gpu_gbps, launch_s = read_rate(accelerator, shape, dtype, None, sample_bytes)
    dense_s = 0.0
    if decoder is not None:
        resident_s = layer_seconds(decoder, shape.batch, worker, 0)
        launch_s = min(launch_s, resident_s)  # within a step it is part of one launch
        dense_s = resident_s - launch_s
        # Within a step an offloaded layer waits for the layer before: its launches show, which otherwise overlap.
        serial_s = layer_seconds(decoder, shape.batch, worker, shape.kv_heads)
        round_trip_s = max(round_trip_s, serial_s - dense_s)
    if accelerator.present:
        up, down = (copy_gbps(accelerator, to_device, sample_bytes) for to_device in (True, False))
        accelerator.api.empty_cache()
    else:
        up = down = cpu_gbps  # nothing crosses a bus
    return Machine(
        gpu_free_bytes=accelerator.free_bytes(),
        host_free_bytes=host_free_bytes(),
        h2d_gbps=up,
        d2h_gbps=down,
        cpu_gbps=cpu_gbps,
        gpu_gbps=gpu_gbps,
        round_trip_s=round_trip_s,
        launch_s=launch_s,
        dense_s=dense_s,
    )
