"""Attention over a CooperativeKVCache: one layer's new q, k, v in, o out, wherever that layer's heads live.

Decode: an offloaded head sends q and its new k, v to the host, the CPU kernel attends there, and only o comes back,
while the accelerator attends its own heads (and other sequence groups). Prefill: K and V of the layer in work stay in a
staging slot until the layer is done, and leave chunk by chunk on the copy stream. The classical strategy copies each
offloaded layer's K and V in every step, double-buffered: the baseline.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch.nn.attention.bias import causal_lower_right

from fastattention_npu import cpu
from fastattention_npu._native import core

from .cache import CooperativeKVCache, Pair

DeviceAttention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, bool], torch.Tensor]
STRATEGIES = ("cooperative", "classical")


def attend_bnsd(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
    """o = attention of q (b, h_q, s, d) over k, v (b, h_kv, n, d), causal from the bottom right, on q's device.

    K and V are never expanded: a GQA group's single query token becomes several rows of one head, longer queries take
    the group's members in turn.
    """
    if q.device.type == "cpu":
        return cpu.forward(q, k, v, causal=causal, layout="BNSD", return_lse=False)[0]
    b, h_q, s, d = q.shape
    group = h_q // k.shape[1]
    if s == 1:
        return _bottom_right(q.reshape(b, k.shape[1], group, d), k, v, False).reshape(b, h_q, 1, d)
    rows = q.reshape(b, k.shape[1], group, s, d)
    parts = [_bottom_right(rows[:, :, g], k, v, causal) for g in range(group)]
    return torch.stack(parts, 2).reshape(b, h_q, s, d)


def _bottom_right(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
    """Equal head counts. On CUDA torch's flash kernel by name: scaled_dot_product_attention may choose cuDNN, which
    prepares a plan for every new length of K, tens of milliseconds in each decode step (measured on an H200)."""
    if q.device.type == "cuda" and q.dtype != torch.float32 and q.shape[-1] % 8 == 0:
        return torch.ops.aten._scaled_dot_product_flash_attention.default(q, k, v, 0.0, causal)[0]
    bias = causal_lower_right(q.shape[2], k.shape[2]) if causal else None
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)


class Pending:
    """A layer's attention under way: the accelerator's part is launched, the host's part runs on the worker."""

    def __init__(self, q: torch.Tensor, device_o: torch.Tensor | None, host: Future[torch.Tensor] | None) -> None:
        self.q, self.device_o, self.host = q, device_o, host

    @property
    def waits_for_host(self) -> bool:
        return self.host is not None and not self.host.done()

    def result(self, out: torch.Tensor | None = None) -> torch.Tensor:
        """o (b, s, h_q, d) on the accelerator, in `out` if given; blocks until the host is done and raises its errors.

        The copy of the host's part is under way when this returns, in the order of the compute stream.
        """
        o = torch.empty_like(self.q, memory_format=torch.contiguous_format) if out is None else out
        own = 0 if self.device_o is None else self.device_o.shape[1]
        if self.device_o is not None:
            o[:, :, :own].copy_(self.device_o.transpose(1, 2))
        if self.host is not None:
            o[:, :, own:].copy_(self.host.result().transpose(1, 2), non_blocking=True)
        return o


class Deferred(Future[torch.Tensor]):
    """The host's part done by whoever asks for its result: without other groups to run there is nobody to wake."""

    def __init__(self, work: Callable[[], torch.Tensor]) -> None:
        super().__init__()
        self.work = work

    def done(self) -> bool:
        return True  # nothing to wait for

    def result(self, timeout: float | None = None) -> torch.Tensor:
        return self.work()


class Exchange:
    """What an offloaded layer's heads need in every step: pinned memory for q, new k and v on the way down and for o on
    the way up, and the kernel's call over them, checked once. A step may use it again once the one before has asked for
    o in the compute stream, which orders all that follows."""

    def __init__(self, cache: CooperativeKVCache, layer: int, tokens: int, threads: int | None) -> None:
        self.cache, (self.keys, self.values) = cache, cache.host[layer]
        batch, heads, _, d = self.keys.shape
        queries = heads * cache.shape.heads // cache.shape.kv_heads
        make = cache.accelerator.host_tensor
        self.landed = make((batch, queries + 2 * heads, tokens, d), cache.dtype)
        self.out = make((batch, queries, tokens, d), cache.dtype)
        self.used = torch.empty(batch, dtype=torch.int32)
        self.new = self.landed[:, queries:].split(heads, 1)
        self.decode = cpu.PreparedDecode(
            self.landed[:, :queries], self.keys, self.values, self.used, self.out, layout="BNSD", threads=threads
        )

    def send(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
        """Starts the copy of q (b, s, h, d) and new k, v (b, s, c, d) down, packed: small copies cost latency."""
        self.landed.copy_(torch.cat([q, k, v], 2).transpose(1, 2), non_blocking=True)

    def work(self) -> Callable[[], torch.Tensor]:
        """After send, before anything else is launched: what waits for the copy, appends k and v, and attends."""
        cache, at = self.cache, self.cache.length
        arrived = cache.accelerator.mark()
        if cache.accelerator.present:
            cache.bus_bytes += (self.landed.numel() + self.out.numel()) * self.landed.element_size()

        def attend() -> torch.Tensor:
            cache.accelerator.host_waits(arrived)
            end = at + self.landed.shape[2]
            self.keys[:, :, at:end] = self.new[0]
            self.values[:, :, at:end] = self.new[1]
            self.used.fill_(end)
            self.decode()
            return self.out

        return attend


class HostWorker:
    """The thread that attends on the host; the kernel itself uses `threads` threads. One job at a time, in order.

    Until close() the kernel's threads spin for up to `spin_us` microseconds between layers: waking 15 sleepers costs
    some 200 us on a virtual machine (H200 host, measured), as much as a layer's attention over 8K tokens.
    """

    def __init__(self, threads: int | None = None, spin_us: int = 1000) -> None:
        self.threads = threads
        core().cpu_set_spin_microseconds(spin_us)
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="fastattn-host")

    def close(self) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)
        core().cpu_set_spin_microseconds(-1)

    def start(self, exchange: Exchange, overlap: bool) -> Future[torch.Tensor]:
        """The host's part of a layer whose q, k and v are on their way; o (b, h, s, d) in host memory.

        overlap: on the worker's thread, at once; otherwise on the caller's, when it asks for the result.
        """
        return self.pool.submit(exchange.work()) if overlap else Deferred(exchange.work())

    def attend(
        self, cache: CooperativeKVCache, layer: int, q: torch.Tensor, new: Pair, overlap: bool = False
    ) -> Future[torch.Tensor]:
        """q (b, s, h, d) and new k, v (b, s, c, d) of the host's heads, still on the accelerator; o (b, h, s, d)."""
        key = (layer, q.shape[1], self.threads)
        if key not in cache.exchanges:
            cache.exchanges[key] = Exchange(cache, layer, q.shape[1], self.threads)
        cache.exchanges[key].send(q, *new)
        return self.start(cache.exchanges[key], overlap)


def cooperative_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cache: CooperativeKVCache,
    layer: int,
    worker: HostWorker,
    *,
    strategy: str = "cooperative",
    overlap: bool = False,
    attention: DeviceAttention = attend_bnsd,
) -> Pending:
    """o = attention of the new tokens over layer's cache and themselves, causal; appends k and v to the cache.

    Args:
        q: (b, s, h_q, d); k, v: (b, s, h_kv, d), on the accelerator: the next s tokens of every sequence.
        cache: its length is the same for all layers until cache.commit(s) ends the step.
        layer: layer number.
        worker: attends on the host.
        strategy: "cooperative", or "classical": copy the offloaded heads in and attend on the accelerator.
        overlap: attend on the worker's thread while the caller goes on with another sequence group.
        attention: the accelerator's kernel, q, k, v in BNSD and causal -> o.
    Returns: a Pending; call result() for o (b, s, h_q, d) where it is needed.
    Raises: CacheError when the cache is full or closed; errors of the host's part come out of result().
    Limits: decode-sized s; whole prompts go through PrefillLayer.
    Source: FastAttention, arXiv 2410.16663, section 4.4.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy is {strategy!r}, must be one of {', '.join(STRATEGIES)}")
    s, at = q.shape[1], cache.length
    cache.check_room(s)
    group = q.shape[2] // k.shape[2]
    own = cache.device[layer][0].shape[1]
    qh = q.transpose(1, 2)
    host: Future[torch.Tensor] | None = None
    if own < k.shape[2]:
        new = (k[:, :, own:], v[:, :, own:])
        if strategy == "cooperative" or not cache.accelerator.present:
            host = worker.attend(cache, layer, q[:, :, own * group :], new, overlap)
    device_o = None
    if own:
        cache.write_device(layer, k, v, at)
        keys, values = cache.device[layer]
        device_o = attention(qh[:, : own * group], keys[:, :, : at + s], values[:, :, : at + s], True)
    if own < k.shape[2] and host is None:
        copied = _classical(qh[:, own * group :], new, cache, layer, attention)
        device_o = copied if device_o is None else torch.cat([device_o, copied], 1)
    return Pending(q, device_o, host)


def _classical(
    q: torch.Tensor, new: Pair, cache: CooperativeKVCache, layer: int, attention: DeviceAttention
) -> torch.Tensor:
    """Attend offloaded heads on the accelerator over a copy of their K and V, fetching the next layer's meanwhile.
    q (b, h, s, d); new k and v (b, s, c, d)."""
    at, s, accelerator = cache.length, q.shape[2], cache.accelerator
    if layer not in cache.staged or cache.staged[layer][2] < at:
        prefetch(cache, layer, at)
    slot, arrived, _ = cache.staged.pop(layer)
    accelerator.compute_waits(arrived)
    heads = new[0].shape[2]
    k, v = (x[:, :heads] for x in cache.staging[slot])
    k[:, :, at : at + s].copy_(new[0].transpose(1, 2))
    v[:, :, at : at + s].copy_(new[1].transpose(1, 2))
    with accelerator.copying():
        cache.copy_heads((k, v), cache.host[layer], at, at + s)
    offloaded = [other for other, c in enumerate(cache.plan.cpu_heads) if c]
    following = offloaded[(offloaded.index(layer) + 1) % len(offloaded)]
    if following != layer:
        # The step's last offloaded layer fetches the first one's tokens for the next step, this step's included.
        prefetch(cache, following, at if following > layer else at + s)
    o = attention(q, k[:, :, : at + s], v[:, :, : at + s], True)
    cache.staging_free[slot] = accelerator.mark()
    return o


def prefetch(cache: CooperativeKVCache, layer: int, tokens: int) -> None:
    """Start copying a layer's offloaded heads into a staging slot, behind the copies given before."""
    slot, target = cache.take_slot(layer, cache.plan.cpu_heads[layer])
    with cache.accelerator.copying(after_compute=False):
        cache.copy_heads(cache.host[layer], target, 0, tokens)
    cache.staged[layer] = (slot, cache.accelerator.mark(copies=True), tokens)


class PrefillLayer:
    """One layer of a prompt, chunk by chunk. Offloaded heads are attended from a staging slot and leave as they come.

    Use for every chunk in order: o = layer.attend(q, k, v); then layer.finish().
    """

    def __init__(self, cache: CooperativeKVCache, layer: int, attention: DeviceAttention = attend_bnsd) -> None:
        self.cache, self.layer, self.attention = cache, layer, attention
        self.done = cache.length
        self.c = cache.plan.cpu_heads[layer]
        self.slot: int | None = None
        self.pair: Pair = cache.host[layer]  # without an accelerator the host's tensors serve directly
        if self.c and cache.accelerator.present:
            if cache.length:
                raise ValueError("PrefillLayer starts from an empty cache; append to a longer one in decode steps")
            self.slot, self.pair = cache.take_slot(layer, self.c)

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """q (b, s, h_q, d), k, v (b, s, h_kv, d): the next chunk; returns o (b, s, h_q, d)."""
        cache, at, end = self.cache, self.done, self.done + q.shape[1]
        cache.check_room(end - cache.length)
        own, group = k.shape[2] - self.c, q.shape[2] // k.shape[2]
        qh, parts = q.transpose(1, 2), []
        if own:
            cache.write_device(self.layer, k, v, at)
            keys, values = cache.device[self.layer]
            parts.append(self.attention(qh[:, : own * group], keys[:, :, :end], values[:, :, :end], True))
        if self.c:
            self.pair[0][:, :, at:end].copy_(k[:, :, own:].transpose(1, 2))
            self.pair[1][:, :, at:end].copy_(v[:, :, own:].transpose(1, 2))
            if self.slot is not None:
                with cache.accelerator.copying():
                    cache.copy_heads(self.pair, cache.host[self.layer], at, end)
            parts.append(self.attention(qh[:, own * group :], self.pair[0][:, :, :end], self.pair[1][:, :, :end], True))
        self.done = end
        return (parts[0] if len(parts) == 1 else torch.cat(parts, 1)).transpose(1, 2)

    def finish(self) -> None:
        """The slot may be reused once both the computation and the copies out of it are done."""
        if self.slot is not None:
            accelerator = self.cache.accelerator
            with accelerator.copying():
                self.cache.staging_free[self.slot] = accelerator.mark(copies=True)
