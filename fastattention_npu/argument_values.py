"""Checks of the values in index tensors, on the host only, where looking at them costs no synchronisation.

Out of range lengths and page numbers would make a kernel read outside its tensors; on a device the caller answers for
them.
"""

from itertools import pairwise

import torch
from torch import Tensor

from .arguments import HEADLINE, Problem
from .errors import ArgumentError, Reason
from .options import Options


def check_values(k: Tensor, options: Options, p: Problem, headline: str = HEADLINE) -> None:
    """Raises ArgumentError with every reason; `k` gives the number of pages, cache rows and tokens."""
    reasons = []
    longest_k = p.s_kv
    if p.packed:
        reasons += _starts_reasons("cu_seqlens_q", options.cu_seqlens_q, p.tokens_q, options.max_seqlen_q, "q")
        reasons += _starts_reasons("cu_seqlens_k", options.cu_seqlens_k, k.size(0), options.max_seqlen_k, "k")
    if not reasons:
        reasons += _used_reasons(options, longest_k)
    if not reasons and options.block_table is not None and options.seqused_k is not None:
        reasons += _page_reasons(options.block_table, options.seqused_k, p.page_size, k.size(0))
    rows = options.cache_batch_idx
    if rows is not None and rows.numel() > 0 and not _within(rows, 0, k.size(0) - 1):
        limit = f"0 to {k.size(0) - 1}, the rows of the cache"
        reasons.append(Reason("cache_batch_idx value", _outlier(rows, 0, k.size(0) - 1), limit, "name existing rows"))
    if reasons:
        raise ArgumentError(headline, reasons)


def _within(x: Tensor, low: int, high: int) -> bool:
    least, most = (int(value) for value in torch.aminmax(x))
    return least >= low and most <= high


def _outlier(x: Tensor, low: int, high: int) -> int:
    least, most = (int(value) for value in torch.aminmax(x))
    return least if least < low else most


def _used_reasons(options: Options, s_kv: int) -> list[Reason]:
    used = options.seqused_k
    if used is None or used.numel() == 0:
        return []
    if options.cu_seqlens_k is not None:
        lengths = options.cu_seqlens_k.diff()
        bad = ((used < 0) | (used > lengths)).nonzero()
        if bad.numel() == 0:
            return []
        i = int(bad[0])
        limit = f"0 to the length of sequence {i}, {int(lengths[i])}"
        return [Reason(f"seqused_k[{i}]", int(used[i]), limit, "count the valid keys of each sequence")]
    if _within(used, 0, s_kv):
        return []
    remedy = "count the valid keys of each batch entry"
    return [Reason("seqused_k value", _outlier(used, 0, s_kv), f"0 to s_kv = {s_kv}", remedy)]


def _starts_reasons(name: str, starts: Tensor | None, tokens: int, longest: int | None, of: str) -> list[Reason]:
    if starts is None:
        return []
    values = starts.tolist()
    lengths = [end - begin for begin, end in pairwise(values)]
    remedy = "sum up the lengths from 0 on"
    if values[0] != 0 or values[-1] > tokens or min(lengths, default=0) < 0:
        received = values if len(values) <= 8 else f"{str(values[:8])[:-1]}, ...]"
        return [Reason(name, received, f"rising from 0 to at most {tokens}, the tokens of {of}", remedy)]
    if longest is not None and max(lengths, default=0) > longest:
        limit = f"at least the longest sequence of {name}, {max(lengths)}"
        return [Reason(f"max_seqlen_{of}", longest, limit, "pass the longest length")]
    return []


def _page_reasons(table: Tensor, used: Tensor, page_size: int, pages: int) -> list[Reason]:
    index = torch.arange(table.size(1), dtype=torch.int64) * page_size
    needed = index < used[:, None]  # (b, pages of a sequence)
    bad = (needed & ((table < 0) | (table >= pages))).nonzero()
    if bad.numel() == 0:
        return []
    i, j = (int(x) for x in bad[0])
    limit = f"0 to {pages - 1}, the pages of the cache"
    return [Reason(f"block_table[{i}, {j}]", int(table[i, j]), limit, "name existing pages for all keys in use")]
