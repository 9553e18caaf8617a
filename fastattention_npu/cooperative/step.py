"""One decode step of one sequence group as a list of pieces over buffers that stay where they are.

A decode step of a small share of a model is launches, not arithmetic: issued one by one a layer's two dozen launches
cost ten times the time that they run, and whenever the host has attended nothing hides them. So all that the
accelerator does between two waits for the host is one piece, and one launch where the device has graphs: the rest of
one layer, any number of layers whose cache is on the card, the projections of the next offloaded one and the copy of
its q, k and v.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

import torch

from .attention import Exchange, HostWorker, cooperative_attention
from .cache import CooperativeKVCache
from .card_attention import card_attention

if TYPE_CHECKING:
    from .llama import Decoder

Steps = Generator[None, None, torch.Tensor]
Work = Callable[[], None]


class DecodeStep:
    """Buffers and pieces of a step for one cache: run(tokens) appends the new tokens and gives the logits."""

    def __init__(self, decoder: Decoder, cache: CooperativeKVCache, worker: HostWorker, strategy: str) -> None:
        c, device, dtype = decoder.config, decoder.accelerator.device, decoder.dtype
        batch = cache.shape.batch
        self.decoder, self.cache, self.worker, self.strategy = decoder, cache, worker, strategy
        self.tokens = torch.zeros(batch, dtype=torch.long, device=device)
        # The new token's place in the cache, and the tokens with it: true from the start, since making a graph runs it.
        self.at = torch.full((1,), cache.length, dtype=torch.long, device=device)
        self.used = torch.full((batch,), cache.length + 1, dtype=torch.int32, device=device)
        self.x = torch.zeros(batch, 1, c.hidden, dtype=dtype, device=device)
        self.o = torch.zeros(batch, 1, c.heads, c.head_dim, dtype=dtype, device=device)
        self.qkv = torch.zeros(batch, 1, c.heads + 2 * c.kv_heads, c.head_dim, dtype=dtype, device=device)
        self.q, self.k, self.v = self.qkv.split([c.heads, c.kv_heads, c.kv_heads], 2)
        self.cos, self.sin = (torch.zeros(1, 1, c.head_dim, device=device) for _ in range(2))
        self.logits = torch.zeros(batch, c.vocab, device=device)
        self.attend, self.attend_captured = card_attention(decoder.accelerator, dtype, decoder.attention)
        self.pieces: list[Work | Exchange | None] = []  # an Exchange: the host starts; None: wait for it
        self.pending: list[Work] = []
        self.pool = decoder.accelerator.graph_pool()
        with torch.no_grad():
            self._build()

    @torch.no_grad()
    def run(self, tokens: torch.Tensor, overlap: bool) -> Steps:
        """tokens (b): the last chosen ones. Yields while the host has this group's layer, so that another can run."""
        length = self.cache.length
        self.cache.check_room(1)
        self.tokens.copy_(tokens, non_blocking=True)
        self.at.fill_(length)
        self.used.fill_(length + 1)
        host: Future[torch.Tensor] | None = None
        for piece in self.pieces:
            if isinstance(piece, Exchange):
                host = self.worker.start(piece, overlap)
            elif piece is not None:
                piece()
            elif host is not None:
                if not host.done():
                    yield
                host.result()
        self.cache.commit(1)
        return self.logits.clone()

    def _build(self) -> None:
        kv_heads = self.decoder.config.kv_heads
        self.pending.append(self._first)
        for layer, host_heads in enumerate(self.cache.plan.cpu_heads):
            self.pending.append(partial(self._project, layer))
            if self.strategy == "classical" and host_heads:
                self._eager(partial(self._classical, layer))
            else:
                exchange = Exchange(self.cache, layer, 1, self.worker.threads) if host_heads else None
                if exchange is not None:
                    self.pending.append(partial(self._send, exchange, kv_heads - host_heads))
                    self._flush()
                    self.pieces.append(exchange)
                if host_heads < kv_heads:
                    work = partial(self._attend, layer, kv_heads - host_heads)
                    self.pending.append(work) if self.attend_captured else self._eager(work)
                if exchange is not None:
                    self._flush()
                    self.pieces.append(None)
                    self.pending.append(partial(self._receive, exchange, kv_heads - host_heads))
            self.pending.append(partial(self._finish, layer))
        self.pending.append(self._last)
        self._flush()

    def _flush(self) -> None:
        """Makes one launch of what has gathered."""
        works, self.pending = self.pending, []
        if not works:
            return

        def piece() -> None:
            for work in works:
                work()

        self.pieces.append(self.decoder.accelerator.capture(piece, self.pool))

    def _eager(self, work: Work) -> None:
        self._flush()
        self.pieces.append(work)

    def _first(self) -> None:
        self.x.copy_(self.decoder.embedding[self.tokens][:, None])
        cos, sin = self.decoder.angles(self.at.float())
        self.cos.copy_(cos)
        self.sin.copy_(sin)

    def _project(self, layer: int) -> None:
        torch.cat(self.decoder.project(self.x, layer, (self.cos, self.sin)), 2, out=self.qkv)

    def _attend(self, layer: int, own: int) -> None:
        """The card's first `own` KV heads: k and v into the cache, o of their groups."""
        keys, values = self.cache.device[layer]
        group = self.q.shape[2] // self.k.shape[2]
        for new, cache in ((self.k, keys), (self.v, values)):
            cache.index_copy_(2, self.at, new[:, :, :own].transpose(1, 2))
        o = self.attend(self.q[:, :, : own * group], keys, values, self.used, self.cache.length + 1)
        self.o[:, :, : own * group].copy_(o)

    def _send(self, exchange: Exchange, own: int) -> None:
        group = self.q.shape[2] // self.k.shape[2]
        exchange.send(self.q[:, :, own * group :], self.k[:, :, own:], self.v[:, :, own:])

    def _receive(self, exchange: Exchange, own: int) -> None:
        group = self.q.shape[2] // self.k.shape[2]
        self.o[:, :, own * group :].copy_(exchange.out.transpose(1, 2), non_blocking=True)

    def _classical(self, layer: int) -> None:
        attention = self.decoder.attention
        pending = cooperative_attention(
            self.q, self.k, self.v, self.cache, layer, self.worker, strategy="classical", attention=attention
        )
        pending.result(self.o)

    def _finish(self, layer: int) -> None:
        self.x.copy_(self.decoder.finish(self.x, self.o, layer))

    def _last(self) -> None:
        self.logits.copy_(self.decoder.logits(self.x))
