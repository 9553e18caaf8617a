"""Tensor layouts: how (b, s, h, d) lies in a tensor. Views only; nothing here copies.

bshd (alias bsnd): (b, s, h, d). bnsd (alias bhsd): (b, h, s, d). bsh: (b, s, h * d), which needs the head dimension.
tnd (alias thd): (tokens, h, d), sequences back to back, seen here as a batch of one.
"""

from collections.abc import Sequence

from torch import Tensor

RANKS = {"bshd": 4, "bnsd": 4, "bsh": 3, "tnd": 3}
DIMS = {"bshd": "(b, s, h, d)", "bnsd": "(b, h, s, d)", "bsh": "(b, s, h * d)", "tnd": "(tokens, h, d)"}


def shape_of(layout: str, b: int, s: int, h: int, d: int) -> tuple[int, ...]:
    """The shape of a tensor in `layout`; b is ignored for tnd."""
    return {"bshd": (b, s, h, d), "bnsd": (b, h, s, d), "bsh": (b, s, h * d), "tnd": (s, h, d)}[layout]


def sizes_of(layout: str, shape: Sequence[int], d: int | None = None) -> tuple[int, int, int, int]:
    """(b, s, h, d) of a shape in `layout`; `d` is needed for bsh."""
    if layout == "bsh":
        assert d is not None, "bsh does not tell the head dimension"
        b, s, width = shape
        return b, s, width // d, d
    if layout == "tnd":
        s, h, last = shape
        return 1, s, h, last
    b, x, y, last = shape
    return (b, x, y, last) if layout == "bshd" else (b, y, x, last)


def as_bshd(tensor: Tensor, layout: str, d: int) -> Tensor:
    """The tensor seen as (b, s, h, d)."""
    if layout == "tnd":
        return tensor.unsqueeze(0)
    if layout == "bnsd":
        return tensor.transpose(1, 2)
    return tensor.unflatten(-1, (tensor.size(-1) // d, d)) if layout == "bsh" else tensor
