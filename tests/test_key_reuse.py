"""Query blocks of a head take their keys in turn and back: which keys are loaded, counted by the simulator, and results
over many turns."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from planning import SOC, plan

from fastattention_npu import _core, reference, sim
from fastattention_npu.sim.timing import time_plan

HALF = 2
D = 128
TILE_K, TILE_V = 256, 512
TILING = {"block_q": 256, "block_kv": 1024, "ring": 4, "preload": 3, "l1_tile_kv": TILE_K, "l1_tile_v": TILE_V}
FOLDED = 0


def keys_read(problem: dict[str, Any], **overrides: int) -> dict[str, int]:
    """Keys of K and of V that reach L1, over all heads."""
    problem = {"b": 1, "h_q": 1, "h_kv": 1, "d": D, "dtype": "fp16"} | problem
    chosen = plan(problem, **({"block_dim": 1} | TILING | overrides))
    report = time_plan(problem, chosen, SOC, events=1)
    return {row["name"]: row["bytes_read"] // (D * HALF) for row in report["timeline"]["gm"] if row["name"] in "kv"}


def test_a_turn_keeps_the_tiles_that_lie_in_l1() -> None:
    # Two slots of either: every turn of eight query blocks finds its first two tiles.
    blocks, keys = 8, 2048
    expected = {"k": blocks * keys - 7 * 2 * TILE_K, "v": blocks * keys - 7 * 2 * TILE_V}
    assert keys_read({"s_q": keys, "s_kv": keys}) == expected


def test_the_diagonal_moves_on_by_one_tile() -> None:
    # Query block i sees i + 1 tiles of K. Where it turns at the diagonal, after 0, 2, 4 and 6, the next one has a tile
    # more: it brings that and finds one of the two; where it turns at key 0 it finds both.
    seen = sum(range(1, 9))
    assert keys_read({"s_q": 2048, "s_kv": 2048, "causal": True})["k"] == (seen - 4 * 1 - 3 * 2) * TILE_K


@pytest.mark.parametrize(("h_kv", "found"), [(1, 4), (2, 3)], ids=["shared-keys", "own-keys"])
def test_heads_share_tiles_only_if_they_share_keys(h_kv: int, found: int) -> None:
    # Query blocks 0 1 2 of the first head, then 1 2 0 of the second; the odd ones go back. All follow each other in
    # turn but the last; the first head ends where the second begins.
    assert keys_read({"s_q": 768, "s_kv": 768, "h_q": 2, "h_kv": h_kv})["k"] == 6 * 768 - found * 2 * TILE_K


@pytest.mark.parametrize(
    ("h_kv", "found"), [(1, 1 + 2 + 2 + 2 + 1), (2, 1 + 2 + 2 + 1)], ids=["shared-keys", "own-keys"]
)
def test_the_second_of_short_causal_heads_goes_backwards(h_kv: int, found: int) -> None:
    # Query blocks 0 1 2 with as many tiles and one, then 2 1 0, all by turns from the first key and from the last.
    assert keys_read({"s_q": 768, "s_kv": 768, "h_q": 2, "h_kv": h_kv, "causal": True})["k"] == (12 - found) * TILE_K


def test_whole_tasks_in_rounds_load_what_they_use() -> None:
    assert keys_read({"s_q": 2048, "s_kv": 2048}, schedule=FOLDED) == {"k": 8 * 2048, "v": 8 * 2048}


def test_slices_of_a_block_share_its_keys() -> None:
    # Two blocks of 512 rows: all keys once for the first, and for the second but for what lies in L1 at its begin.
    sliced = TILING | {"block_q": 512, "slice_q": 128, "l1_tile_kv": 512, "block_dim": 1}
    read = keys_read({"s_q": 1024, "s_kv": 2048, "d": 64}, **sliced)
    assert {name: keys * D // 64 for name, keys in read.items()} == {"k": 2 * 2048 - 1024, "v": 2 * 2048 - 1024}


def test_slices_find_keys_of_more_tiles_than_two() -> None:
    sliced = TILING | {"block_q": 512, "slice_q": 128, "block_kv": 768, "l1_tile_v": 384}
    read = keys_read({"s_q": 512, "s_kv": 1536, "d": 64}, **sliced)
    assert {name: keys * D // 64 for name, keys in read.items()} == {"k": 1536, "v": 1536}


def drawn(choose: random.Random) -> tuple[dict[str, Any], dict[str, int]]:
    problem: dict[str, Any] = {"b": choose.choice((1, 2)), "h_q": choose.choice((1, 2, 4)), "h_kv": 1, "dtype": "fp16"}
    problem |= {"s_q": choose.choice((17, 100, 205, 700, 1100)), "s_kv": choose.choice((33, 300, 700, 1100, 1999))}
    problem |= {"d": choose.choice((16, 64, 128)), "causal": choose.random() < 0.6}
    if problem["causal"] and choose.random() < 0.4:
        problem["window_left"] = choose.choice((0, 20, 97, 300))
    fields = {"block_q": choose.choice((16, 32, 64, 128)), "block_kv": choose.choice((256, 512, 768))}
    fields["slice_q"] = max(16, fields["block_q"] // choose.choice((1, 1, 2, 4)))
    fields |= {"ring": 3, "preload": 2, "l1_tile_kv": 128, "l0_tile_kv": 64, "strip_rows": 8}
    return problem, fields | {"block_dim": choose.choice((1, 3, 5)), "stagger": choose.choice((1, 3, 8))}


@pytest.mark.parametrize("seed", range(60))
def test_groups_multiply_what_op_host_counts(seed: int) -> None:
    """Blocks of both sides are the same, whole fractals but at the ends of a sequence, and within the sequence."""
    problem, fields = drawn(random.Random(seed))
    chosen = plan(problem, **fields)
    report = time_plan(problem, chosen, SOC)
    fractals = -(-problem["d"] // 16) * 16**3
    counted = [
        (group["score_fractals"] + group["output_fractals"]) * fractals
        for group in _core.group_work(chosen["tiling_bytes"], [])
    ]
    assert report["group_cube_macs"] == counted


# Tiles of 64 keys, some with fewer: every query block turns, few blocks end at whole tiles.
SMALL = {"block_q": 32, "block_kv": 256, "l1_tile_kv": 64, "l0_tile_kv": 64, "block_dim": 2, "stagger": 4}


SLICES = SMALL | {"block_q": 64, "slice_q": 16, "l0_tile_q": 16}


@pytest.mark.parametrize("fields", [SMALL, SLICES], ids=["blocks", "slices"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"causal": True},
        {"causal": True, "window_left": 150},
        {"window_left": 30, "window_right": 90},
        {"seqused_k": torch.tensor([203, 170], dtype=torch.int32), "causal": True},
    ],
    ids=["full", "causal", "window", "band", "seqused"],
)
@pytest.mark.parametrize("s_kv", [205, 700])
def test_results_over_many_turns(s_kv: int, options: dict[str, Any], fields: dict[str, int], tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    heads = (("q", 205, 4), ("k", s_kv, 2), ("v", s_kv, 2))
    qkv = {name: torch.randn(2, s, h, 64, generator=generator).half() for name, s, h in heads}
    file = tmp_path / "small.yaml"
    file.write_text("".join(f"{name}: {value}\n" for name, value in fields.items()))
    out, lse, report = sim.flash_attention(**qkv, **options, tiling=file, return_report=True)
    assert report.figures["hazards"] == 0, report.figures["hazard_texts"]
    exact = reference.attention_float64(**qkv, **options)
    same = reference.attention_same_precision(**qkv, **options)
    assert reference.check(out, exact[0], same[0]).reasons == ()
    assert reference.check(lse, exact[1], same[1]).reasons == ()
