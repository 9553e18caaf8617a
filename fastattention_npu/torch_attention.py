"""Attention in plain PyTorch with every option of the operator: the definition of its semantics.

Used three ways: in float64 as the reference, rounded to the inputs' dtype as the yardstick of its error (reference.py),
and in fp32 on the host where the native kernel is not built or a head is too long (host.py). Works through heads and
rows in chunks, so that a production shape takes seconds; keys that a chunk cannot see are left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from . import layouts
from .arguments import Problem
from .options import Options

ROWS = 256  # of one chunk; small, so that causality leaves work out
SCORES_ELEMS = 1 << 22  # of one chunk of S


@dataclass(frozen=True)
class Sequence:
    """One batch entry: views of its operands and outputs, q and o (s, h_q, d), k and v (n, h_kv, d), lse (h_q, s)."""

    index: int
    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor
    lse: Tensor


@dataclass(frozen=True)
class _Head:
    """What changes the scores of one query head; offset: row r's diagonal is key r + offset."""

    scale: float
    softcap: float
    window: tuple[int, int]
    offset: int
    slope: Tensor | None
    sink: Tensor | None
    mask: Tensor | None  # (s, n)

    def keys(self, row0: int, row1: int, n: int) -> tuple[int, int]:
        """The keys that rows row0 ... row1 - 1 can see together."""
        left, right = self.window
        end = n if right < 0 else max(0, min(n, row1 + self.offset + right))
        begin = 0 if left < 0 else max(0, min(end, row0 + self.offset - left))
        return begin, end


def attend(
    q: Tensor, k: Tensor, v: Tensor, options: Options, p: Problem, out: Tensor, lse: Tensor, *, dtype: torch.dtype
) -> None:
    """Fills out and lse. S = Q Kᵀ and P are rounded to `dtype`; the rest is float64 if that is, and fp32 otherwise."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    out.zero_()
    lse.fill_(-torch.inf)
    group = p.h_q // max(p.h_kv, 1)
    for one in sequences(q, k, v, options, p, out, lse):
        for h in range(p.h_q):
            key_head = h // group
            k_h, v_h = (x[:, key_head].to(wide) for x in (one.k, one.v))  # (n, d)
            _head(one, h, k_h, v_h, _modifiers(options, p, one, h, wide), dtype)


def sequences(
    q: Tensor, k: Tensor, v: Tensor, options: Options, p: Problem, out: Tensor, lse: Tensor
) -> Iterator[Sequence]:
    """The batch entries, each with the keys that it uses; pages are gathered."""
    q, o = layouts.as_bshd(q, p.layout, p.d), layouts.as_bshd(out, p.layout, p.d_v)
    k, v = layouts.as_bshd(k, p.kv_layout, p.d), layouts.as_bshd(v, p.kv_layout, p.d_v)
    starts_q = None if options.cu_seqlens_q is None else options.cu_seqlens_q.tolist()
    starts_k = None if options.cu_seqlens_k is None else options.cu_seqlens_k.tolist()
    for i in range(p.b):
        rows = slice(None) if starts_q is None else slice(starts_q[i], starts_q[i + 1])
        entry = 0 if p.packed else i
        if options.block_table is not None:
            pages = options.block_table[i].clamp(0, k.size(0) - 1).long()
            k_i, v_i = (x[pages].flatten(0, 1) for x in (k, v))
        elif options.cache_batch_idx is not None:
            k_i, v_i = (x[int(options.cache_batch_idx[i])] for x in (k, v))
        elif starts_k is not None:
            k_i, v_i = (x[0, starts_k[i] : starts_k[i + 1]] for x in (k, v))
        else:
            k_i, v_i = k[i], v[i]
        if options.seqused_k is not None:
            n = int(options.seqused_k[i])
            k_i, v_i = k_i[:n], v_i[:n]
        lse_i = lse[:, rows] if p.packed else lse[i]
        yield Sequence(i, q[entry, rows], k_i, v_i, o[entry, rows], lse_i)


def _modifiers(options: Options, p: Problem, one: Sequence, h: int, wide: torch.dtype) -> _Head:
    slopes, mask = options.alibi_slopes, options.attn_mask
    slope = None if slopes is None else (slopes[one.index, h] if slopes.dim() == 2 else slopes[h]).to(wide)
    sink = None if options.sinks is None else options.sinks[h].to(wide)
    if mask is not None:
        mask = mask.expand(p.b, p.h_q, p.s_q, p.s_kv)[one.index, h, :, : one.k.size(0)]
    offset = one.k.size(0) - one.q.size(0)
    return _Head(options.scale(p.d), options.softcap, options.window, offset, slope, sink, mask)


def _head(one: Sequence, h: int, k: Tensor, v: Tensor, head: _Head, dtype: torch.dtype) -> None:
    rows = max(1, min(one.q.size(0), ROWS, SCORES_ELEMS // max(k.size(0), 1)))
    for r in range(0, one.q.size(0), rows):
        q = one.q[r : r + rows, h].to(k.dtype)  # (r, d)
        begin, end = head.keys(r, r + q.size(0), k.size(0))
        part = one.o[r : r + rows, h], one.lse[h, r : r + rows]
        _rows(q, k[begin:end], v[begin:end], head, r, begin, dtype, *part)


def _rows(
    q: Tensor, k: Tensor, v: Tensor, head: _Head, row0: int, col0: int, dtype: torch.dtype, o: Tensor, lse: Tensor
) -> None:
    """Fills o (r, d_v) and lse (r) of some rows of one head."""
    sink = -torch.inf if head.sink is None else head.sink
    if k.size(0) == 0:
        lse.fill_(sink)  # o is zero already
        return
    s, hidden = _scores(q, k, head, row0, col0, dtype)  # (r, n)
    row_max = s.amax(-1, keepdim=True).clamp(min=sink)  # (r, 1); NaN stays NaN
    row_max = torch.where(row_max == -torch.inf, 0.0, row_max)
    p = s.sub_(row_max).exp_()  # (r, n)
    row_sum = p.sum(-1, keepdim=True) + (0.0 if head.sink is None else (head.sink - row_max).exp())  # (r, 1)
    p = p.div_(torch.where(row_sum == 0, 1.0, row_sum)).to(dtype)
    o.copy_(_product(p.to(q.dtype), v, hidden))
    lse.copy_((row_max + row_sum.log()).squeeze(-1))


def _scores(q: Tensor, k: Tensor, head: _Head, row0: int, col0: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """S (r, n) with everything that changes it, hidden keys -inf; and which are hidden."""
    s = (q @ k.T).to(dtype).mul_(head.scale).to(q.dtype)  # (r, n)
    if head.softcap > 0:
        s = s.div_(head.softcap).tanh_().mul_(head.softcap)
    row = torch.arange(row0, row0 + q.size(0), device=q.device)[:, None]
    col = torch.arange(col0, col0 + k.size(0), device=q.device)
    distance = col - (row + head.offset)  # (r, n)
    if head.slope is not None:
        s = s - head.slope * distance.abs()
    left, right = head.window
    hidden = torch.zeros_like(distance, dtype=torch.bool)
    hidden |= (distance > right) if right >= 0 else False
    hidden |= (distance < -left) if left >= 0 else False
    if head.mask is not None:
        mask = head.mask[row0 : row0 + q.size(0), col0 : col0 + k.size(0)]
        if mask.dtype == torch.bool:
            hidden |= ~mask
        else:
            s = s + mask.to(s.dtype)
    return s.masked_fill_(hidden, -torch.inf), hidden


def _product(p: Tensor, v: Tensor, hidden: Tensor) -> Tensor:
    """P V (r, d_v), where the inf and NaN of V reach only the rows that see them (0 · inf would spread them)."""
    special = ~v.isfinite()  # (n, d_v)
    if not special.any() or not hidden.any():
        return p @ v
    o = p @ v.masked_fill(special, 0.0)
    sees = (~hidden).to(p.dtype)  # (r, n)
    for value in (torch.inf, -torch.inf):
        o = torch.where(sees @ (v == value).to(p.dtype) > 0, o + value, o)
    return torch.where(sees @ v.isnan().to(p.dtype) > 0, torch.nan, o)
