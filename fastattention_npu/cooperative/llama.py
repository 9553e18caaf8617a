"""A Llama-shaped decoder from a config, weights random, for trying the cooperative cache at real sizes.

Prefill goes layer by layer over the whole prompt and chunk by chunk within a layer, so that an offloaded layer's K
and V pass the accelerator once; decode goes token by token, several sequence groups in turn where the host's work is to
overlap the accelerator's. No tokenizer, no checkpoint: what it shows is time, memory and equality of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import rms_norm, silu

from .attention import STRATEGIES, DeviceAttention, HostWorker, PrefillLayer, attend_bnsd
from .cache import CooperativeKVCache
from .device import Accelerator
from .plan import CacheShape
from .step import DecodeStep, Steps


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes in elements. The named shapes are one card's share of a model split over `cards` by tensor parallelism."""

    layers: int = 32
    hidden: int = 4096
    heads: int = 32
    kv_heads: int = 32
    head_dim: int = 128
    ffn: int = 11008
    vocab: int = 32000
    rope_base: float = 10000.0

    def share(self, cards: int) -> DecoderConfig:
        """One card's share: heads and feed-forward divided; hidden states and the vocabulary are whole on each card."""
        if self.heads % cards or self.kv_heads % cards or self.ffn % cards:
            raise ValueError(
                f"heads {self.heads}, kv_heads {self.kv_heads} and ffn {self.ffn} must be multiples of cards = {cards}"
            )
        kept = (self.layers, self.hidden, self.heads // cards, self.kv_heads // cards, self.head_dim)
        return DecoderConfig(*kept, self.ffn // cards, self.vocab, self.rope_base)

    def cache_shape(self, batch: int, tokens: int, element_bytes: int) -> CacheShape:
        return CacheShape(self.layers, self.heads, self.kv_heads, self.head_dim, batch, tokens, element_bytes)

    @property
    def parameters(self) -> int:
        qkv = self.hidden * self.head_dim * (self.heads + 2 * self.kv_heads)
        layer = qkv + self.hidden * self.head_dim * self.heads + 3 * self.hidden * self.ffn + 2 * self.hidden
        return self.layers * layer + 2 * self.vocab * self.hidden + self.hidden


CONFIGS = {
    "llama-7b": DecoderConfig(),
    "llama-8b-gqa": DecoderConfig(kv_heads=8, ffn=14336, vocab=128256, rope_base=500000.0),
    "tiny": DecoderConfig(layers=4, hidden=64, heads=4, kv_heads=2, head_dim=16, ffn=96, vocab=97),
}


class Decoder:
    """Random weights from `seed`: equal seeds on equal devices give equal weights."""

    def __init__(
        self,
        config: DecoderConfig,
        accelerator: Accelerator,
        dtype: torch.dtype,
        seed: int = 0,
        attention: DeviceAttention = attend_bnsd,
    ) -> None:
        self.config, self.accelerator, self.dtype, self.attention = config, accelerator, dtype, attention
        generator = torch.Generator(accelerator.device).manual_seed(seed)

        def weights(rows: int, columns: int) -> torch.Tensor:
            w = torch.empty(rows, columns, dtype=dtype, device=accelerator.device)
            return w.normal_(0.0, columns**-0.5, generator=generator)

        c, inner = config, config.heads * config.head_dim
        self.qkv = [weights(inner + 2 * c.kv_heads * c.head_dim, c.hidden) for _ in range(c.layers)]
        self.out = [weights(c.hidden, inner) for _ in range(c.layers)]
        self.gate_up = [weights(2 * c.ffn, c.hidden) for _ in range(c.layers)]
        self.down = [weights(c.hidden, c.ffn) for _ in range(c.layers)]
        self.embedding = weights(c.vocab, c.hidden)
        self.head = weights(c.vocab, c.hidden)
        exponents = torch.arange(0, c.head_dim, 2, dtype=torch.float64) / c.head_dim
        self.frequencies = (c.rope_base**-exponents).to(torch.float32).to(accelerator.device)

    def _norm(self, x: torch.Tensor) -> torch.Tensor:
        return rms_norm(x, (self.config.hidden,))

    def angles(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(cos, cos) and (-sin, sin) of the rotary embedding at positions (n) fp32: (n, 1, d) each."""
        angles = positions[:, None, None] * self.frequencies
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)

    def project(
        self, x: torch.Tensor, layer: int, angles: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        c = self.config
        qkv = (self._norm(x) @ self.qkv[layer].T).unflatten(-1, (-1, c.head_dim))
        qk, v = qkv.split([c.heads + c.kv_heads, c.kv_heads], 2)
        # Few, wide operations: a decode step is launches, not arithmetic.
        turned = torch.addcmul(qk * angles[0], qk.roll(c.head_dim // 2, -1), angles[1]).to(x.dtype)
        q, k = turned.split([c.heads, c.kv_heads], 2)
        return q, k, v

    def finish(self, x: torch.Tensor, o: torch.Tensor, layer: int) -> torch.Tensor:
        """The rest of a layer behind its attention: output projection, feed-forward, both residuals."""
        x = x + o.flatten(2) @ self.out[layer].T
        gate, up = (self._norm(x) @ self.gate_up[layer].T).chunk(2, -1)
        return x + (silu(gate) * up) @ self.down[layer].T

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return (self._norm(x[:, -1]) @ self.head.T).float()

    @torch.no_grad()
    def prefill(self, tokens: torch.Tensor, cache: CooperativeKVCache, chunk: int = 8192) -> torch.Tensor:
        """tokens (b, n) into an empty cache; returns the logits (b, vocab) after the last token."""
        x = self.embedding[tokens.to(self.accelerator.device)]
        n = tokens.shape[1]
        for layer in range(self.config.layers):
            work = PrefillLayer(cache, layer, self.attention)
            for begin in range(0, n, chunk):
                part = x[:, begin : begin + chunk]
                positions = torch.arange(begin, begin + part.shape[1], device=x.device, dtype=torch.float32)
                o = work.attend(*self.project(part, layer, self.angles(positions)))
                x[:, begin : begin + chunk] = self.finish(part, o, layer)
            work.finish()
        cache.settle()
        cache.commit(n)
        return self.logits(x)

    def _steps(
        self, tokens: torch.Tensor, cache: CooperativeKVCache, worker: HostWorker, strategy: str, overlap: bool
    ) -> Steps:
        cache.check_room(1)
        key = (self, worker, strategy)
        if key not in cache.steps:
            cache.steps[key] = DecodeStep(self, cache, worker, strategy)
        return cache.steps[key].run(tokens, overlap)

    def decode_step(
        self,
        groups: list[tuple[torch.Tensor, CooperativeKVCache]],
        worker: HostWorker,
        strategy: str = "cooperative",
    ) -> list[torch.Tensor]:
        """One token for every group (tokens (b), its cache); returns each group's logits (b, vocab).

        Groups take turns: while the host attends one group's offloaded heads, the accelerator computes another's.
        """
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy is {strategy!r}, must be one of {', '.join(STRATEGIES)}")
        overlap = len(groups) > 1
        running = [self._steps(tokens, cache, worker, strategy, overlap) for tokens, cache in groups]
        logits: dict[int, torch.Tensor] = {}
        while len(logits) < len(running):
            for i, steps in enumerate(running):
                if i not in logits and (done := _advance(steps)) is not None:
                    logits[i] = done
        return [logits[i] for i in range(len(running))]

    def generate(
        self, first: torch.Tensor, count: int, cache: CooperativeKVCache, worker: HostWorker, strategy: str
    ) -> torch.Tensor:
        """`count` greedy tokens (b, count) after prefill's choice `first` (b), which is the first of them."""
        chosen = [first]
        for _ in range(count - 1):
            chosen.append(self.decode_step([(chosen[-1], cache)], worker, strategy)[0].argmax(-1))
        return torch.stack(chosen, 1)


def _advance(steps: Steps) -> torch.Tensor | None:
    """Run one group until it waits for the host; its logits once it is through."""
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    return None
