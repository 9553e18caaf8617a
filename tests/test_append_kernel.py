"""The append_kv_cache kernel on the simulated NPU, with all checks: against the host's operator, and, where lengths or
places on the device are wrong, against its rule. Bits are compared: nothing is computed."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

import fastattention_npu as fa
from fastattention_npu import layouts
from fastattention_npu.cache_call import Append
from fastattention_npu.config import load_soc
from fastattention_npu.errors import ArgumentError
from fastattention_npu.sim.append import simulate

SOC = load_soc("ascend910b2")


def int32(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


@dataclass(frozen=True)
class Case:
    """used: tokens of each batch entry before. rows: (of the cache, tokens each); pages: a block table of so many."""

    used: tuple[int, ...]
    tokens: int
    rows: tuple[int, int]
    heads: int = 2
    d: int = 32
    d_v: int = 0
    dtype: torch.dtype = torch.float16
    layout: str = "bshd"
    idx: tuple[int, ...] = ()
    table: tuple[tuple[int, ...], ...] = ()
    packed: bool = False  # k and v, and the two caches, are views of one tensor
    expanded: bool = False  # every token is the same


CASES = {
    "decode": Case((17, 40), 1, (2, 64)),
    "decode-bf16-gqa": Case((0, 63, 5), 1, (3, 64), heads=8, d=128, dtype=torch.bfloat16),
    "decode-bnsd": Case((17, 40), 1, (2, 64), heads=8, layout="bnsd"),
    "bnsd": Case((17, 0), 9, (2, 64), layout="bnsd"),
    "bnsd-more-heads": Case((17, 0), 3, (2, 64), heads=5, layout="bnsd"),
    "odd-head-dims": Case((3, 11, 0), 7, (3, 32), heads=3, d=5, d_v=9),
    "fp32": Case((3, 9), 5, (2, 20), d=24, dtype=torch.float32),
    "fills-the-cache": Case((0,), 32, (1, 32)),
    "chosen-rows": Case((17, 40), 2, (5, 64), idx=(4, 1)),
    "pages": Case((15, 31, 32), 3, (7, 16), table=((3, 1, 6), (0, 5, 2), (4, 2, 5))),
    "pages-bnsd": Case((15, 2), 20, (5, 16), heads=4, layout="bnsd", table=((3, 1, 0), (4, 2, 2))),
    "packed": Case((4, 9), 6, (2, 20), packed=True),
    "expanded": Case((4, 9), 6, (2, 20), expanded=True),
    "one-head": Case((4, 9), 6, (2, 20), heads=1, layout="bnsd"),
    "many-cores": Case((100, 7), 1500, (2, 1700), heads=4, d=64),
    "wide-rows": Case((1,), 3, (1, 5), heads=130, d=257),
    "one-wide-head": Case((1,), 3, (1, 5), heads=2, d=40000, layout="bnsd"),
    "more-rows-than-a-copy-takes": Case((2,), 5000, (1, 5003), heads=2, d=1, layout="bnsd"),
}
# What nobody may find out too late: the kernel leaves it out and touches nothing else.
BROKEN = {
    "too-long": Case((17, 63), 4, (2, 64)),
    "far-too-long": Case((2**31 - 1, 5), 4, (2, 64)),
    "negative": Case((-2, 5), 4, (2, 64)),
    "far-below": Case((-(2**31), 5), 4, (2, 64)),
    "no-such-row": Case((1, 2, 3), 2, (4, 16), idx=(-1, 4, 2)),
    "no-such-page": Case((15, 14), 4, (4, 16), table=((3, 99), (-1, 2))),
    "beyond-the-table": Case((30, 40), 4, (4, 16), table=((3, 1), (0, 2))),
}


def make(case: Case) -> Append:
    """The caches have a row of guards on either end."""
    generator = torch.Generator().manual_seed(0)
    d, d_v = case.d, case.d_v or case.d

    def normal(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=generator).to(case.dtype)

    def tensor(rows: int, tokens: int, width: int) -> Tensor:
        return layouts.as_bshd(
            normal(*layouts.shape_of(case.layout, rows, tokens, case.heads, width)), case.layout, width
        )

    b, (rows, size) = len(case.used), case.rows
    if case.packed:
        k, v = normal(b, case.tokens, 2, case.heads, d).unbind(2)
        k_cache, v_cache = normal(rows + 2, size, 2, case.heads, d)[1:-1].unbind(2)
    else:
        k, v = tensor(b, case.tokens, d), tensor(b, case.tokens, d_v)
        k_cache, v_cache = (tensor(rows + 2, size, width)[1:-1] for width in (d, d_v))
    if case.expanded:
        k, v = (x[:, :1].expand(-1, case.tokens, -1, -1) for x in (k, v))
    index = int32(*case.idx) if case.idx else None
    table = torch.tensor(case.table, dtype=torch.int32) if case.table else None
    return Append(k_cache, v_cache, k, v, int32(*case.used), index, table)


def everything(call: Append) -> list[Tensor]:
    """Copies of the whole memory that the caches are views of, guards included."""
    return [torch.empty(0, dtype=x.dtype).set_(x.untyped_storage()).clone() for x in (call.k_cache, call.v_cache)]


def append_by_rule(call: Append) -> Tensor:
    """Token by token, without what has no place; the lengths."""
    rows, size = call.k_cache.shape[:2]
    table = call.block_table
    capacity = size if table is None else size * table.size(1)
    for i, used in enumerate(call.cache_seqlens.tolist()):
        for t in range(call.k.size(1)):
            at = used + t
            if not 0 <= at < capacity:
                continue
            row = i if call.cache_batch_idx is None else int(call.cache_batch_idx[i])
            row = row if table is None else int(table[i, at // size])
            if 0 <= row < rows:
                call.k_cache[row, at % size] = call.k[i, t]
                call.v_cache[row, at % size] = call.v[i, t]
    return (call.cache_seqlens.long() + call.k.size(1)).clamp(0, capacity).int()


def run(call: Append, **settings: Any) -> tuple[Tensor, dict[str, Any]]:
    lengths = torch.full_like(call.cache_seqlens, -7)
    report = simulate(call, lengths, SOC, {"threads": 2} | settings)
    assert report["hazard_texts"] + report["warning_texts"] == []
    return lengths, report


def assert_same_memory(mine: Append, theirs: Append) -> None:
    for x, y in zip(everything(mine), everything(theirs), strict=True):
        assert torch.equal(x.view(torch.uint8), y.view(torch.uint8))


@pytest.mark.parametrize("case", [*CASES.values(), *BROKEN.values()], ids=[*CASES, *BROKEN])
def test_by_the_rule(case: Case) -> None:
    mine, theirs = make(case), make(case)
    lengths, _ = run(mine)
    assert lengths.tolist() == append_by_rule(theirs).tolist()
    assert_same_memory(mine, theirs)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_operator_on_both_backends(case: Case) -> None:
    mine, theirs = make(case), make(case)

    def operator(x: Append) -> Tensor:
        index = (x.cache_seqlens, x.cache_batch_idx, x.block_table)
        return torch.ops.fastattn.append_kv_cache_(x.k_cache, x.v_cache, x.k, x.v, *index)

    with fa.backend("sim"):
        lengths = operator(mine)
    assert torch.equal(lengths, operator(theirs))
    assert_same_memory(mine, theirs)


def test_the_same_bits_and_cycles_for_any_number_of_threads() -> None:
    reports = [run(make(CASES["many-cores"]), threads=n)[1] for n in (1, 2)]
    assert reports[0]["cycles"] == reports[1]["cycles"]
    assert reports[0]["gm_bytes_written"] == reports[1]["gm_bytes_written"]


def test_a_long_append_uses_every_core_and_a_short_one_few() -> None:
    assert make(CASES["many-cores"]).plan(SOC)["block_dim"] == SOC.values()["cores.aic"]
    assert make(CASES["decode"]).plan(SOC)["block_dim"] == 2


def test_canary_a_row_that_two_entries_share_races() -> None:
    call = make(replace(CASES["chosen-rows"], used=(17, 17), idx=(4, 4)))
    report = simulate(call, torch.zeros(2, dtype=torch.int32), SOC, {"threads": 1})
    assert report["hazards"] > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: {"k": x.k.repeat_interleave(2, -1)[..., ::2]}, ["k.stride(-1) = 2: must be 1"]),
        (lambda x: {"v_cache": x.v_cache[:1].expand(2, -1, -1, -1)}, ["v_cache.stride()", "must not be expanded"]),
        (
            lambda x: {"cache_seqlens": int32(1, 0, 2, 0)[::2], "k": x.k.repeat_interleave(2, -1)[..., ::2]},
            ["cache_seqlens.stride(-1) = 2", "2 reasons"],
        ),
    ],
    ids=["elements apart", "expanded cache", "two"],
)
def test_refusals(change: Any, words: list[str]) -> None:
    call = make(CASES["decode"])
    call = replace(call, **change(call))
    with fa.backend("sim"), pytest.raises(ArgumentError) as caught:
        torch.ops.fastattn.append_kv_cache_(call.k_cache, call.v_cache, call.k, call.v, call.cache_seqlens)
    assert all(word in str(caught.value) for word in words), str(caught.value)
