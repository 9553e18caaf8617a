"""What a pipeline does when: token blocks, and which of the two forms of the AllReduce carries them."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Schedule:
    """Tokens of each block. whole_attention: the attention is computed first and at once, and only its projection in
    blocks: better where cutting the attention costs more than its overlap gains. exchange: the AllReduce taken apart
    (exchange.py) where peer memory is at hand, instead of the library's."""

    blocks: tuple[int, ...]
    whole_attention: bool = False
    exchange: bool = False

    @property
    def pipelined(self) -> bool:
        return self.exchange or len(self.blocks) > 1

    def __str__(self) -> str:
        if not self.pipelined:
            return "not cut"
        words = ["exchange"] * self.exchange + ["projection"] * self.whole_attention
        return "+".join(map(str, self.blocks)) + (f" ({', '.join(words)})" if words else "")


def project(rows: Tensor, w_o: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """out = rows · w_oᵀ (+ bias), accumulated in fp32 by the library."""
    if bias is None:
        torch.mm(rows, w_o.t(), out=out)
    else:
        torch.addmm(bias, rows, w_o.t(), out=out)
