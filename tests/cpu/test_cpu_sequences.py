"""Packed sequences, keys in use, and paged caches: the memory beyond what is in use is poison."""

from __future__ import annotations

import pytest
import torch
from cpu_reference import Options, attend, check

from fastattention_npu import cpu

CAUSAL = Options(causal=True)


def int32(*x: int) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.int32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_packed(dtype: torch.dtype, target: str) -> None:
    q_lens, k_lens = [5, 0, 130, 1], [40, 7, 130, 300]
    cu_q, cu_k = (int32(*[sum(x[:i]) for i in range(5)]) for x in (q_lens, k_lens))
    q = torch.randn(sum(q_lens), 4, 64).to(dtype)
    k, v = (torch.randn(sum(k_lens), 2, 64).to(dtype) for _ in range(2))
    o, lse = cpu.forward(q, k, v, causal=True, cu_seqlens_q=cu_q, cu_seqlens_k=cu_k, layout="TND")
    assert lse is not None
    assert lse.shape == (4, sum(q_lens))
    for i in range(4):
        rows, keys = slice(int(cu_q[i]), int(cu_q[i + 1])), slice(int(cu_k[i]), int(cu_k[i + 1]))
        one = (q[rows][None], k[keys][None], v[keys][None])
        if q_lens[i]:
            check((o[rows][None], lse[:, rows][None]), attend(*one, CAUSAL, torch.float64), attend(*one, CAUSAL, dtype))


@pytest.mark.parametrize("s_q", [1, 3, 100])
def test_keys_in_use(s_q: int, target: str) -> None:
    used = [200, 0, 131]
    q = torch.randn(3, s_q, 4, 64).half()
    k, v = (torch.randn(3, 250, 2, 64).half() for _ in range(2))
    for i, n in enumerate(used):
        k[i, n:] = v[i, n:] = float("nan")
    o, lse = cpu.forward(q, k, v, causal=True, seqused_k=int32(*used))
    assert lse is not None
    for i, n in enumerate(used):
        one = (q[i : i + 1], k[i : i + 1, :n], v[i : i + 1, :n])
        got = (o[i : i + 1], lse[i : i + 1])
        check(got, attend(*one, CAUSAL, torch.float64), attend(*one, CAUSAL, torch.float16))


@pytest.mark.parametrize("page", [16, 48, 256])
@pytest.mark.parametrize(("s_q", "layout"), [(1, "BSND"), (1, "BNSD"), (40, "BSND"), (40, "BNSD")])
def test_paged(page: int, s_q: int, layout: str, target: str) -> None:
    used = [300, 17]
    pages = [-(-n // page) for n in used]
    order = torch.randperm(sum(pages) + 3)
    table = torch.full((2, max(pages)), -1, dtype=torch.int32)
    k, v = (torch.randn(2, 300, 2, 64).bfloat16() for _ in range(2))
    caches = [torch.full((sum(pages) + 3, page, 2, 64), float("nan"), dtype=torch.bfloat16) for _ in range(2)]
    taken = iter(order.tolist())
    for i, n in enumerate(used):
        for p in range(pages[i]):
            table[i, p] = next(taken)
            rows = min(page, n - p * page)
            for cache, x in zip(caches, (k, v), strict=True):
                cache[table[i, p], :rows] = x[i, p * page : p * page + rows]
    q = torch.randn(2, s_q, 4, 64).bfloat16()
    stored = [x.transpose(1, 2).contiguous() if layout == "BNSD" else x for x in (q, *caches)]
    o, lse = cpu.decode(
        stored[0], stored[1], stored[2], int32(*used), block_table=table, layout=layout, return_lse=True, threads=2
    )
    assert lse is not None
    o = o.transpose(1, 2) if layout == "BNSD" else o
    for i, n in enumerate(used):
        one = (q[i : i + 1], k[i : i + 1, :n], v[i : i + 1, :n])
        got = (o[i : i + 1], lse[i : i + 1])
        check(got, attend(*one, CAUSAL, torch.float64), attend(*one, CAUSAL, torch.bfloat16))


def test_packed_queries_on_a_paged_cache(target: str) -> None:
    q = torch.randn(7, 4, 32)
    cache = torch.randn(8, 16, 4, 32)
    table = int32(3, 1, 5, 2, 7, 0).reshape(2, 3)
    used = [40, 33]
    o, _ = cpu.forward(
        q, cache, cache, causal=True, cu_seqlens_q=int32(0, 2, 7), block_table=table, seqused_k=int32(*used),
        layout="TND",
    )  # fmt: skip
    for i, rows in enumerate((slice(0, 2), slice(2, 7))):
        keys = cache[table[i].long()].reshape(48, 4, 32)[: used[i]]
        one = (q[rows][None], keys[None], keys[None])
        check((o[rows][None], None), attend(*one, CAUSAL, torch.float64), attend(*one, CAUSAL, torch.float32))
