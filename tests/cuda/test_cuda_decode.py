"""Decode against float64 on a GPU: cache kinds, packed GQA groups, splits, and the features of the prefill kernel."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from cuda_harness import poison
from cuda_reference import Case, alibi_slopes, attention, check

from fastattention_npu.cuda import decoding, prefill


@dataclasses.dataclass(frozen=True)
class DecodeCase:
    """A decode problem: an attention problem, where its keys lie and how they are split."""

    base: Case
    page: int = 0
    indexed: bool = False
    splits: int = 0

    @property
    def id(self) -> str:
        """For pytest."""
        kind = f"page{self.page}" if self.page else "indexed" if self.indexed else "contiguous"
        return f"{self.base.id}-{kind}-splits{self.splits}"


def _base(s_q: int = 1, s_kv: int = 700, d: int = 128, h_q: int = 8, h_kv: int = 2, **more: object) -> Case:
    return Case(s_q=s_q, s_kv=s_kv, d=d, b=3, h_q=h_q, h_kv=h_kv, **{"causal": True, **more})  # type: ignore[arg-type]


USED = (700, 1, 333)
CASES = [
    DecodeCase(_base()),
    DecodeCase(_base(s_q=16, used=USED)),
    DecodeCase(_base(s_q=5, h_q=14, h_kv=2, used=USED), splits=3),
    DecodeCase(_base(s_q=3, used=(0, 2, 700)), splits=7),
    DecodeCase(_base(used=USED), page=16),
    DecodeCase(_base(s_q=4, used=USED), page=48, splits=5),
    DecodeCase(_base(s_q=2, d=64, h_q=64, h_kv=2, used=USED), page=256),
    DecodeCase(_base(s_q=2, used=USED), indexed=True),
    DecodeCase(_base(s_q=8, window=(100, 0), used=USED), splits=2),
    DecodeCase(_base(s_q=8, causal=False, used=USED)),
    DecodeCase(_base(s_q=2, softcap=20.0, used=USED), page=32),
    DecodeCase(_base(s_q=2, alibi=True, used=USED), splits=4),
    DecodeCase(_base(s_q=2, scale=-0.1, used=USED)),
    *(DecodeCase(_base(s_q=3, d=d, used=USED)) for d in (8, 20, 32, 64, 80, 96, 112, 160, 192, 256)),
]


def _paged(x: torch.Tensor, page: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(b, s, h, d) -> shuffled pages and their table; room beyond s is NaN, which nobody may read into a result."""
    b, s = x.shape[:2]
    count = -(-s // page)
    room = torch.full((b, count * page, *x.shape[2:]), float("nan"), dtype=x.dtype, device=x.device)
    room[:, :s] = x
    table = torch.randperm(b * count, generator=torch.Generator().manual_seed(1)).to(x.device).view(b, count)
    pages = torch.empty((b * count, page, *x.shape[2:]), dtype=x.dtype, device=x.device)
    pages[table.flatten()] = room.view(b * count, page, *x.shape[2:])
    return pages, table.int()


def _cache(
    case: DecodeCase, k: torch.Tensor, v: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, decoding.CacheArguments]:
    cache = decoding.CacheArguments(num_splits=case.splits)
    if case.base.used:
        cache.cache_seqlens = torch.tensor(case.base.used, dtype=torch.int32, device=k.device)
    if case.page:
        (k, cache.block_table), (v, _) = _paged(k, case.page), _paged(v, case.page)
    if case.indexed:
        order = torch.tensor([2, 0, 1], device=k.device)
        k, v = (torch.empty_like(x).index_copy_(0, order, x) for x in (k, v))
        cache.cache_batch_idx = order.int()
    return k, v, cache


@pytest.mark.parametrize("arch", [70, 75])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_matches_float64(case: DecodeCase, arch: int, device: torch.device) -> None:
    base = case.base
    generator = torch.Generator(device=device).manual_seed(base.d + base.s_q)
    q, k, v = (
        torch.randn(base.b, s, h, base.d, device=device, generator=generator).half()
        for s, h in ((base.s_q, base.h_q), (base.s_kv, base.h_kv), (base.s_kv, base.h_kv))
    )
    arguments = prefill.ForwardArguments(base.scale, base.causal, base.window, base.softcap)
    if base.alibi:
        arguments.alibi_slopes = alibi_slopes(base.h_q, device)
    poison(64 * q.numel(), device)
    out, lse = _run(case, q, k, v, arguments, arch)
    used = base.used or (base.s_kv,) * base.b
    exact, same = (
        [attention(q[i], k[i, : used[i]], v[i, : used[i]], base, dtype) for i in range(base.b)]
        for dtype in (torch.float64, torch.float16)
    )
    for index, actual in ((0, out), (1, lse)):
        error, tolerance = check(actual, torch.stack([x[index] for x in exact]), torch.stack([x[index] for x in same]))
        assert error <= tolerance, f"{('out', 'lse')[index]}: error {error:.3e}, tolerance {tolerance:.3e}"


def _run(
    case: DecodeCase,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    arguments: prefill.ForwardArguments,
    arch: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    keys, values, cache = _cache(case, k, v)
    return decoding.run(q, keys, values, arguments, cache, arch)


@pytest.mark.parametrize(("tiles", "s_kv", "splits"), [(32, 32768, 8), (1000, 32768, 1), (1, 256, 1), (1, 100000, 128)])
def test_splits_fill_the_card_once(tiles: int, s_kv: int, splits: int) -> None:
    assert decoding.choose_splits(tiles, 264, s_kv) == splits
