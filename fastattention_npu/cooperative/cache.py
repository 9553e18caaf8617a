"""The KV cache of a decoder, split between an accelerator and pinned host memory, head by head.

Per layer the first kv_heads - c heads are on the accelerator, the last c on the host, each head's tokens contiguous
(BNSD), so that decode reads memory in one stream. Two staging slots on the accelerator serve prefill (K and V of the
layer in work, until they have left) and the classical strategy (the layer that is being copied in).
"""

from __future__ import annotations

from typing import Any

import torch

from .device import Accelerator, DeviceError, host_free_bytes
from .plan import CacheShape, OffloadPlan


class CacheError(DeviceError):
    """The cache does not fit, is full, or was used after a failure."""


Pair = tuple[torch.Tensor, torch.Tensor]


class CooperativeKVCache:
    """K and V of all layers; `cooperative_attention` fills and reads it.

    Args:
        plan: placement and sizes (plan_offload, or OffloadPlan made by hand).
        accelerator: device.Accelerator; for the CPU device all heads are simply host tensors.
        dtype: element type of K and V.
    Raises: CacheError when a memory does not suffice; what had been allocated is released.
    Limits: all sequences of the batch have one length. Not thread-safe; one step at a time.
    """

    def __init__(self, plan: OffloadPlan, accelerator: Accelerator, dtype: torch.dtype) -> None:
        if dtype.itemsize != plan.shape.element_bytes:
            raise CacheError(f"plan is for {plan.shape.element_bytes}-byte elements, dtype is {dtype}")
        self.plan = plan
        self.shape: CacheShape = plan.shape
        self.accelerator = accelerator
        self.dtype = dtype
        self.length = 0  # tokens in every layer; advanced by commit() alone
        self.bus_bytes = 0  # moved between host and accelerator since the last reset
        self.device: list[Pair] = []
        self.host: list[Pair] = []
        self.staging: list[Pair] = []
        self.staging_free: list[Any] = [None, None]  # event after which a slot may be overwritten
        self.staged: dict[int, tuple[int, Any, int]] = {}  # layer -> slot, event that ends its copy, tokens copied
        self.next_slot = 0
        self.exchanges: dict[tuple[int, int, int | None], Any] = {}  # of attention.HostWorker, made on first use
        self.steps: dict[Any, Any] = {}  # step.DecodeStep of a decoder, made on first use
        try:
            self._allocate()
        except (RuntimeError, MemoryError) as e:
            self.close()
            raise CacheError(
                f"cache does not fit: {plan.gpu_bytes} bytes on {accelerator.device} "
                f"({accelerator.free_bytes()} free), {plan.cpu_bytes} bytes on the host ({host_free_bytes()} free): "
                f"plan with fewer tokens or another split; {e}"
            ) from e

    def _allocate(self) -> None:
        s = self.shape
        if self.plan.cpu_bytes > host_free_bytes() and self.plan.cpu_bytes > 0:
            raise MemoryError("not enough host memory")
        for c in self.plan.cpu_heads:
            self.device.append(self._pair((s.batch, s.kv_heads - c, s.tokens, s.head_dim), host=False))
            self.host.append(self._pair((s.batch, c, s.tokens, s.head_dim), host=True))
        most = max(self.plan.cpu_heads, default=0)
        if most and self.accelerator.present:
            self.staging = [self._pair((s.batch, most, s.tokens, s.head_dim), host=False) for _ in range(2)]

    def _pair(self, shape: tuple[int, ...], host: bool) -> Pair:
        if host:
            return self.accelerator.host_tensor(shape, self.dtype), self.accelerator.host_tensor(shape, self.dtype)
        where = self.accelerator.device
        return torch.empty(shape, dtype=self.dtype, device=where), torch.empty(shape, dtype=self.dtype, device=where)

    def settle(self) -> None:
        """Wait for every transfer and forget staged copies: after prefill, and between strategies."""
        self.accelerator.synchronize()
        self.staged = {}

    def close(self) -> None:
        """Release both memories. The cache cannot be used afterwards."""
        self.accelerator.synchronize()  # transfers may still be writing into the memory
        self.device, self.host, self.staging, self.staged = [], [], [], {}
        self.exchanges, self.steps = {}, {}
        if self.accelerator.present:
            # The next cache may have other block sizes; blocks kept for reuse would be cut up and partly lost.
            self.accelerator.api.empty_cache()

    def __enter__(self) -> CooperativeKVCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check_room(self, new_tokens: int) -> None:
        if not self.device and not self.host:
            raise CacheError("the cache is closed")
        if self.length + new_tokens > self.shape.tokens:
            raise CacheError(
                f"cache is full: {self.length} of {self.shape.tokens} tokens in use, {new_tokens} more wanted: "
                "plan with more tokens"
            )

    def commit(self, new_tokens: int) -> None:
        """All layers have their new tokens: they count from now on. A step that failed before this left no trace."""
        self.length += new_tokens

    def write_device(self, layer: int, k: torch.Tensor, v: torch.Tensor, at: int) -> None:
        """The accelerator's heads of k, v (b, s, h_kv, d) to tokens [at, at + s)."""
        keys, values = self.device[layer]
        n, end = keys.shape[1], at + k.shape[1]
        if n:
            # One call for both: a decode step is launches.
            new = [k[:, :, :n].transpose(1, 2), v[:, :, :n].transpose(1, 2)]
            torch._foreach_copy_([keys[:, :, at:end], values[:, :, at:end]], new)

    def copy_heads(self, source: Pair, target: Pair, begin: int, end: int) -> None:
        """Tokens [begin, end) of every head, each a contiguous run, so that every copy is one DMA transfer."""
        for x, y in zip(source, target, strict=True):
            for b in range(y.shape[0]):
                for h in range(min(x.shape[1], y.shape[1])):
                    y[b, h, begin:end].copy_(x[b, h, begin:end], non_blocking=True)
            heads = min(x.shape[1], y.shape[1])
            self.bus_bytes += y.shape[0] * heads * (end - begin) * self.shape.head_dim * self.dtype.itemsize

    def take_slot(self, layer: int, heads: int) -> tuple[int, Pair]:
        """A staging slot's first heads; the copy and the compute stream both wait until its last user is done."""
        slot = self.next_slot
        self.next_slot ^= 1
        self.staged = {other: x for other, x in self.staged.items() if x[0] != slot and other != layer}
        self.accelerator.compute_waits(self.staging_free[slot])
        self.accelerator.copies_wait(self.staging_free[slot])
        k, v = self.staging[slot]
        return slot, (k[:, :heads], v[:, :heads])
