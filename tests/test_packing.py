"""GQA packing: the query heads of a key head as rows of one block, against float64, in every layout and feature."""

from dataclasses import replace
from typing import Any

import pytest

from fastattention_npu import _core
from fastattention_npu.bench.kernel_cases import SMALL_TILING, Case
from tests.planning import SOC, plan, refusal

GROUPED = {"b": 4, "s_q": 1, "s_kv": 4096, "h_q": 32, "h_kv": 8, "d": 128, "dtype": "fp16", "causal": True}


def packed(**more: Any) -> dict[str, Any]:
    return {**SMALL_TILING, "pack_gqa": 1, **more}


# (queries, query heads, key heads): one token, fractions of a strip, more tokens than a block holds, odd groups
SIZES = [(1, 8, 2), (1, 5, 1), (2, 6, 2), (5, 4, 1), (16, 8, 2), (20, 3, 1)]
FEATURES = {
    "causal": Case(1, 600, causal=True, tiling=packed()),
    "windows": Case(1, 330, b=2, window=(40, 7), alibi=True, sinks=True, softcap=3.0, tiling=packed(strip_rows=16)),
    "predicate": Case(1, 330, window=(40, 7), sinks=True, tiling=packed(mask="predicate")),
    "full": Case(1, 330, causal=True, dtype="bf16", tiling=packed(mask="full", block_q=64)),
    "boolean": Case(1, 330, b=2, mask=("bool", "bhqk"), window=(100, -1), tiling=packed()),
    "added": Case(1, 330, b=2, mask=("add", "hk"), causal=True, d_v=40, tiling=packed(block_q=64, strip_rows=16)),
    "keys": Case(1, 330, b=2, mask=("bool", "bk"), tiling=packed()),
    "split": Case(1, 900, b=2, used=(0, 900), causal=True, alibi=True, sinks=True, tiling=packed(block_dim=3)),
    "hidden": Case(1, 5, causal=True, sinks=True, tiling=packed(block_dim=3)),
}
LENGTHS = ((40, 300), (0, 5), (65, 65), (9, 0), (1, 7))
PACKED_SEQUENCES = [
    Case(65, 300, h_q=8, h_kv=2, causal=True, sinks=True, lens=LENGTHS, tiling=packed()),
    Case(65, 300, h_q=3, h_kv=1, window=(20, -1), alibi=True, lens=LENGTHS, tiling=packed(block_dim=2)),
]


@pytest.mark.parametrize("layout", ["BSND", "BNSD"])
@pytest.mark.parametrize(("s_q", "h_q", "h_kv"), SIZES)
@pytest.mark.parametrize("name", FEATURES)
def test_packed_rows_match_float64(name: str, s_q: int, h_q: int, h_kv: int, layout: str) -> None:
    verdict = replace(FEATURES[name], s_q=s_q, h_q=h_q, h_kv=h_kv, layout=layout).run()
    assert verdict.how == "clean", verdict.text


@pytest.mark.parametrize("case", PACKED_SEQUENCES, ids=str)
def test_packed_sequences(case: Case) -> None:
    verdict = case.run()
    assert verdict.how == "clean", verdict.text


def test_heads_further_apart_than_one_copy_can_say_are_loaded_one_by_one() -> None:
    case = Case(600, 40, d=128, h_q=2, layout="BNSD", causal=True, tiling=packed(block_q=128))
    assert case.s_q * case.d > 65535
    verdict = case.run()
    assert verdict.how == "clean", verdict.text


def test_short_queries_of_groups_are_packed_unless_told_otherwise() -> None:
    assert plan(GROUPED)["tiling"]["pack_gqa"] == 1
    assert plan(GROUPED, pack_gqa=0)["tiling"]["pack_gqa"] == 0
    assert plan(GROUPED | {"h_kv": 32})["tiling"]["pack_gqa"] == 0
    assert plan(GROUPED | {"s_q": 1024})["tiling"]["pack_gqa"] == 0


def test_a_group_that_does_not_fit_a_block_is_not_packed() -> None:
    wide = GROUPED | {"h_q": 256, "h_kv": 1}
    assert plan(wide, block_q=128)["tiling"]["pack_gqa"] == 0
    (reason,) = refusal(wide, pack_gqa=1, block_q=128)
    assert "pack_gqa = 1: must be 0 where the 256 query heads of a key head do not fit block_q = 128 rows" in reason


def test_packing_reads_keys_and_values_once_for_a_group() -> None:
    read = {}
    for pack in (0, 1):
        answer = plan(GROUPED | {"s_kv": 1024, "b": 1}, pack_gqa=pack)
        sizes = {"q": 8192, "k": 2 << 20, "v": 2 << 20, "o": 8192, "lse": 4096, "mask": 1 << 20}
        operands = {name: ((i + 1) << 36, size) for i, (name, size) in enumerate(sizes.items())}
        options = {"functional": False, "checks": False, "threads": 1}
        report = _core.simulate_flash_attention(
            SOC, answer["tiling_bytes"], answer["block_dim"], operands, answer["workspace_bytes"], options
        )
        read[pack] = report["gm_bytes_read"]
    keys_and_values = 2 * (2 << 20)
    # Once for each of the four heads of a group, but for tiles that lie in L1 where the next head begins.
    assert read[0] > 3.9 * keys_and_values
    assert read[1] < 1.5 * keys_and_values
