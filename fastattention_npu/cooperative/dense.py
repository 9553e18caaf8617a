"""The dense parts of a decode step, over buffers that stay where they are, each part one launch where there are graphs.

A decode step of a small share of a model is launches, not arithmetic: without graphs a layer's dozen kernels cost ten
times the time that they run. Between two parts lies a layer's attention, whose length changes with every token.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from .llama import Decoder


class DenseStep:
    """One sequence group's buffers and launches: start(tokens, position), then project(layer) and o for each layer,
    then finish(). Part l ends layer l - 1 (its o is in `o`) and begins layer l."""

    def __init__(self, decoder: Decoder, batch: int) -> None:
        c, device, dtype = decoder.config, decoder.accelerator.device, decoder.dtype
        self.decoder = decoder
        self.tokens = torch.zeros(batch, dtype=torch.long, device=device)
        self.position = torch.zeros(1, dtype=torch.float32, device=device)
        self.x = torch.zeros(batch, 1, c.hidden, dtype=dtype, device=device)
        self.o = torch.zeros(batch, 1, c.heads, c.head_dim, dtype=dtype, device=device)
        self.qkv = torch.zeros(batch, 1, c.heads + 2 * c.kv_heads, c.head_dim, dtype=dtype, device=device)
        self.cos, self.sin = (torch.zeros(1, 1, c.head_dim, device=device) for _ in range(2))
        self.logits = torch.zeros(batch, c.vocab, device=device)
        between = [partial(self._between, layer) for layer in range(1, c.layers)]
        parts: list[Callable[[], None]] = [self._first, *between, self._last]
        self.parts = [decoder.accelerator.capture(part) for part in parts]

    def start(self, tokens: torch.Tensor, position: int) -> None:
        """tokens (b): the last chosen ones; position: theirs."""
        self.tokens.copy_(tokens, non_blocking=True)
        self.position.fill_(position)

    def project(self, layer: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """q (b, 1, h_q, d), k, v (b, 1, h_kv, d) of a layer; valid until the next call."""
        self.parts[layer]()
        c = self.decoder.config
        q, k, v = self.qkv.split([c.heads, c.kv_heads, c.kv_heads], 2)
        return q, k, v

    def finish(self) -> torch.Tensor:
        """The step's logits (b, vocab) fp32."""
        self.parts[-1]()
        return self.logits.clone()

    def _first(self) -> None:
        self.x.copy_(self.decoder.embedding[self.tokens][:, None])
        cos, sin = self.decoder.angles(self.position)
        self.cos.copy_(cos)
        self.sin.copy_(sin)
        self._project(0)

    def _between(self, layer: int) -> None:
        self.x.copy_(self.decoder.finish(self.x, self.o, layer - 1))
        self._project(layer)

    def _last(self) -> None:
        self.logits.copy_(self.decoder.logits(self.decoder.finish(self.x, self.o, self.decoder.config.layers - 1)))

    def _project(self, layer: int) -> None:
        torch.cat(self.decoder.project(self.x, layer, (self.cos, self.sin)), 2, out=self.qkv)
