"""The order of the cube core's work: blocks of every length beside each other, scores begun early, columns left out."""

from typing import Any

import pytest
from planning import SOC, plan
from test_sim_attention import Case, assert_matches_float64, make_qkv

from fastattention_npu.config import TilingConfig
from fastattention_npu.sim.timing import time_plan

BLOCKS = {"block_q": 256, "block_kv": 512, "l0_tile_kv": 64, "l1_tile_kv": 128, "strip_rows": 8, "interleave": 1}


@pytest.mark.parametrize("preload", [1, 2, 3, 4])
@pytest.mark.parametrize("case", [Case(900, 900, True, 64, 1), Case(300, 1100, True, 128, 2)], ids=str)
@pytest.mark.parametrize("schedule", [0, 1])
def test_short_and_long_blocks_side_by_side(preload: int, case: Case, schedule: int) -> None:
    """One group does all: the diagonal's short blocks stand beside the next task's long ones."""
    tiling = BLOCKS | {"preload": preload, "ring": preload + 1, "block_dim": 1 + schedule, "schedule": schedule}
    assert_matches_float64(make_qkv(case), tiling=TilingConfig(tiling, "test"))


@pytest.mark.parametrize("window", [(100, 0), (0, 70), (300, 129), (-1, 5)], ids=str)
@pytest.mark.parametrize("strip_rows", [8, 16])
def test_windows_that_cut_query_tiles_of_a_block(window: tuple[int, int], strip_rows: int) -> None:
    tiling = BLOCKS | {"strip_rows": strip_rows, "ring": 4, "preload": 3}
    arguments = make_qkv(Case(700, 600, False, 32, 2)) | {"window_left": window[0], "window_right": window[1]}
    assert_matches_float64(arguments, tiling=TilingConfig(tiling, "test"))


@pytest.mark.parametrize("l0_tile_kv", [64, 128])
@pytest.mark.parametrize("keys", [304, 560])
def test_a_query_tile_ends_within_keys_that_were_loaded_together(l0_tile_kv: int, keys: int) -> None:
    """Keys in L1 lie as far apart as they were loaded: a part of them would be read with another pitch."""
    tiling = BLOCKS | {"l0_tile_kv": l0_tile_kv, "interleave": 0, "ring": 4, "preload": 3}
    assert_matches_float64(make_qkv(Case(256, keys, True, 64, 1)), tiling=TilingConfig(tiling, "test"))


def macs(problem: dict[str, Any], **tiling: int | str) -> float:
    return time_plan(problem, plan(problem, **tiling), SOC)["cube_macs"]


# Columns of each query tile: whole multiples of 64 or of a fractal; 64 of a block of which its rows see nothing. And
# pairs of 16 rows and columns of S that are left out besides: rows before the first that sees any of 64 columns.
@pytest.mark.parametrize(
    ("keys", "columns", "pairs"),
    [
        (512, [128, 256, 384, 512], 4 * 4 * 4),
        (600, [256, 352, 512 + 64, 608], 2 * (2 * 4 + 6 * 4) + (2 * 4 + 6 * 2) + 6 * 2),
    ],
)
def test_what_no_row_sees_is_left_out(keys: int, columns: list[int], pairs: int) -> None:
    problem = {"b": 1, "s_q": 512, "s_kv": keys, "h_q": 1, "h_kv": 1, "d": 64, "dtype": "fp16", "causal": True}
    assert macs(problem, **BLOCKS, schedule=0) == 64 * (2 * 128 * sum(columns) - 16 * 16 * pairs)


def test_canary_whole_blocks_are_more() -> None:
    problem = {"b": 1, "s_q": 512, "s_kv": 512, "h_q": 1, "h_kv": 1, "d": 64, "dtype": "fp16", "causal": True}
    assert macs(problem, **BLOCKS, schedule=0) < macs(problem | {"causal": False}, **BLOCKS, schedule=0) * 0.75
