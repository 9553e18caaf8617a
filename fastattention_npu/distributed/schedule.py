"""What a pipeline does when: token blocks, and which of the two forms of the AllReduce carries them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Schedule:
    """launches: tokens of the blocks of each launch of the attention, in the order of the tokens. exchange: the
    AllReduce taken apart (exchange.py, which begins with the last launch) where peer memory is at hand, instead of the
    library's."""

    launches: tuple[tuple[int, ...], ...]
    exchange: bool = False

    @property
    def blocks(self) -> tuple[int, ...]:
        return tuple(itertools.chain(*self.launches))

    @property
    def pipelined(self) -> bool:
        return self.exchange or len(self.blocks) > 1

    def __str__(self) -> str:
        if not self.pipelined:
            return "not cut"
        blocks = " / ".join("+".join(map(str, launch)) for launch in self.launches)
        return blocks + " (exchange)" * self.exchange


def uncut(tokens: int) -> Schedule:
    """The sequential form: everything is computed, then one AllReduce."""
    return Schedule(((tokens,),))


def each(blocks: Sequence[int], *, exchange: bool = False) -> Schedule:
    """Attention, too, in these blocks."""
    return Schedule(tuple((tokens,) for tokens in blocks), exchange)


def project(rows: Tensor, w_o: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """out = rows · w_oᵀ (+ bias), accumulated in fp32 by the library."""
    if bias is None:
        torch.mm(rows, w_o.t(), out=out)
    else:
        torch.addmm(bias, rows, w_o.t(), out=out)
