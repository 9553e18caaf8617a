"""What op_host chooses, and the storage arithmetic behind it, through the binding."""

import itertools
import math
import struct
from pathlib import Path
from typing import Any

import pytest
import yaml
from planning import CONFIGS, LLAMA, PUBLIC, SOC, SOCS, packed_heads, plan, refusal, soc_of

from fastattention_npu import _core


def buffer(answer: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in answer["buffers"] if row["name"] == name)


def test_soc_fields_are_those_of_the_soc_files() -> None:
    assert set(_core.soc_fields()) == set(SOC) - {"name"}


@pytest.mark.parametrize("soc", SOCS)
@pytest.mark.parametrize("shape", sorted((CONFIGS / "shapes").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shape_has_a_plan_on_every_soc(shape: Path, soc: str) -> None:
    problem = yaml.safe_load(shape.read_text())
    spec = soc_of(soc)
    answer = plan(problem, spec)
    tiling, model = answer["tiling"], answer["model"]
    assert all(row["end_bytes"] <= row["limit_bytes"] for row in answer["buffers"])
    packed = packed_heads(problem, tiling)
    assert tiling["num_blocks_q"] == math.ceil(problem["s_q"] / (tiling["block_q"] // packed))
    tasks = problem["b"] * problem["h_q"] // packed * tiling["num_blocks_q"]
    parts = math.ceil(problem["s_kv"] / 512) if tiling["schedule"] == 1 else 1  # a part has at least 512 keys
    assert answer["block_dim"] == tiling["block_dim"] == min(spec["cores.aic"], tasks * parts)
    assert answer["workspace_bytes"] == tiling["workspace_bytes_per_group"] * answer["block_dim"]
    assert 0 < model["limit_cycles"] < model["cycles"]
    assert model["bottleneck"] in model["limit_pipe_cycles"]
    assert model["limit_cycles"] == max(model["limit_pipe_cycles"].values())
    assert answer == plan(problem, spec), "plans are deterministic"


@pytest.mark.parametrize("file", sorted((CONFIGS / "tiling").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_tiling_file_fits_the_llama_shape(file: Path) -> None:
    overrides = yaml.safe_load(file.read_text())
    tiling = plan(LLAMA, **overrides)["tiling"]
    assert {key: tiling[key] for key in overrides} == overrides


def test_chosen_plan_is_no_slower_than_the_public_schedule() -> None:
    for s in (128, 1024, 4096):
        for d in (32, 64, 128):
            problem = LLAMA | {"s_q": s, "s_kv": s, "d": d}
            chosen, public = plan(problem)["model"]["cycles"], plan(problem, **PUBLIC)["model"]["cycles"]
            assert chosen <= public * 1.05, "5 %: what op_host takes for equal"


def test_short_sequences_get_short_blocks() -> None:
    tiling = plan(LLAMA | {"s_q": 20, "s_kv": 33, "d": 32})["tiling"]
    assert tiling["block_q"] in (16, 32)
    assert tiling["block_kv"] == 256


def test_single_override_leaves_a_plan_around_it() -> None:
    grid = {
        "block_q": [16, 32, 96],
        "block_kv": [256, 768, 1024],
        "ring": [2, 6],
        "preload": [1, 4],
        "l1_tile_kv": [64, 96, 192],
        "l0_tile_kv": [48, 64, 128],
        "strip_rows": [8, 24],
        "mask_block": [1024, 2048],
        "block_dim": [1, 7],
    }
    for name, values in grid.items():
        for value in values:
            assert plan(LLAMA, **{name: value})["tiling"][name] == value


def test_strides_follow_the_layout() -> None:
    problem = {"b": 2, "s_q": 10, "s_kv": 20, "h_q": 4, "h_kv": 2, "d": 16}
    for layout in ("BSND", "BSH", "bshd"):
        tiling = plan(problem | {"layout": layout})["tiling"]
        assert tiling["q_strides"] == tiling["o_strides"] == (10 * 64, 64, 16)
        assert tiling["k_strides"] == tiling["v_strides"] == (20 * 32, 32, 16)
    tiling = plan(problem | {"layout": "BNSD"})["tiling"]
    assert tiling["q_strides"] == (640, 16, 160)
    assert tiling["k_strides"] == (640, 16, 320)


def test_given_strides_win_and_a_single_row_needs_no_pitch() -> None:
    problem = {"b": 1, "s_q": 1, "s_kv": 20, "h_q": 4, "h_kv": 2, "d": 16}
    tiling = plan(problem | {"strides": {"q": (7, 1 << 30, 16), "k": [0, 999, 16]}})["tiling"]
    assert tiling["q_strides"] == (7, 16, 16)
    assert tiling["k_strides"] == (0, 999, 16)
    assert tiling["v_strides"] == (640, 32, 16)


def test_default_scale_and_given_scale() -> None:
    assert plan(LLAMA)["tiling"]["softmax_scale"] == pytest.approx(128**-0.5)
    assert plan(LLAMA | {"softmax_scale": 0.25})["tiling"]["softmax_scale"] == 0.25
    assert plan(LLAMA | {"softmax_scale": None})["tiling"]["softmax_scale"] == pytest.approx(128**-0.5)


def test_tiling_bytes_are_the_struct() -> None:
    answer = plan(LLAMA | {"has_seq_used_kv": True, "dtype": "bf16", "window_left": 7, "softcap": 3.0}
                  | {"mask_dtype": "bool", "mask_strides": (9, 8, 7, 1)}, mask="predicate")  # fmt: skip
    tiling = answer["tiling"]
    fields = struct.unpack_from("<22Q8I2i6I2f23I", answer["tiling_bytes"])
    strides = [stride for name in (*"qkvo", "mask") for stride in tiling[f"{name}_strides"]]
    parts = ("bytes_per_group", "s_offset_bytes", "p_offset_bytes", "o_offset_bytes", "part_offset_bytes")
    assert list(fields[:15]) == strides
    assert strides[12:] == [9, 7, 8]  # batch, query, head
    assert list(fields[15:20]) == [tiling[f"workspace_{name}"] for name in parts]
    assert fields[20:22] == (32 * 1024, 1024)  # lse strides of batch and head
    assert fields[22] == 1  # bf16
    sizes = ("batch", "heads_q", "heads_kv", "seq_q", "seq_kv", "head_dim_qk", "head_dim_v")
    assert list(fields[23:30]) == [tiling[name] for name in sizes]
    assert fields[30:32] == (7, 0)  # windows; causal is a right window of 0
    flags = ("has_cu_seqlens", "has_seq_used_kv", "has_sinks", "has_alibi")
    assert list(fields[32:36]) == [tiling[name] for name in flags]
    assert fields[37] == 1  # a boolean mask tensor
    assert fields[38:40] == (pytest.approx(tiling["softmax_scale"]), 3.0)
    tiles = ("l1_tile_kv", "l1_tile_v", "l1_tile_p", "l0_tile_q", "l0_tile_kv", "interleave", "strip_rows", "p_slots")
    order = ("block_q", "slice_q", "block_kv", "ring", "preload", *tiles)
    assert list(fields[40:45]) + list(fields[47:55]) == [tiling[name] for name in order]
    assert fields[45:47] == (0, tiling["stagger"])  # S in fp32
    assert fields[55] == 1  # windows by predicate
    order = ("mask_block", "block_dim", "num_blocks_q", "pack_gqa", "schedule", "block_units", "task_units")
    assert list(fields[56:]) == [tiling[name] for name in order]


def test_core_groups_of_long_problems_are_out_of_step() -> None:
    """A short first block costs a block; few blocks are not worth that."""
    assert plan(LLAMA | {"s_q": 4096, "s_kv": 4096})["tiling"]["stagger"] == 8
    assert plan(LLAMA | {"s_q": 1})["tiling"]["stagger"] == 1


# --- storage ---------------------------------------------------------------------------------------------------------


def test_storage_arithmetic_of_the_public_schedule() -> None:
    answer = plan(LLAMA, **PUBLIC | {"schedule": 1, "mask": "tiling"})
    sizes = {row["name"]: row["slot_bytes"] * row["slots"] for row in answer["buffers"]}
    assert sizes["l1Q"] == 2 * 128 * 128 * 2
    assert sizes["l1K"] == sizes["l1V"] == 2 * 256 * 128 * 2
    assert sizes["l1P"] == 2 * 128 * 128 * 2
    assert sizes["l0a"] == sizes["l0b"] == 65536
    assert sizes["l0c"] == 131072
    assert sizes["l0aQ"] == sizes["l0cO"] == 0  # the products take turns
    assert sizes["ubS"] == 2 * 16 * 512 * 4
    assert sizes["ubMask"] == 2 * 16 * 512 // 8
    assert sizes["ubO"] == 64 * 128 * 4
    assert sizes["ubRescale"] == 3 * 64 * 4
    assert buffer(answer, "l1Q")["limit_bytes"] == 512 * 1024 - 256
    assert buffer(answer, "ubS")["limit_bytes"] == 192 * 1024 - 256 - 8192
    group = 3 * 128 * (512 * (4 + 2) + 128 * 4)
    assert buffer(answer, "gmO")["end_bytes"] == group
    part = 128 * (128 + 2) * 4  # O, row_max and row_sum of a partial result
    assert buffer(answer, "gmPart")["end_bytes"] == group + part
    assert answer["workspace_bytes"] == 24 * (group + part)


def test_query_tiles_share_keys_in_l1() -> None:
    answer = plan(LLAMA, block_q=256, block_kv=1024, interleave=1, l0_tile_kv=64, l1_tile_kv=256, strip_rows=8)
    sizes = {row["name"]: (row["slots"], row["slot_bytes"]) for row in answer["buffers"]}
    assert answer["tiling"]["l0_tile_q"] == 128
    assert sizes["l1Q"] == (1, 256 * 128 * 2)
    assert sizes["l1V"] == (2, 512 * 128 * 2)  # all of the block's keys
    assert sizes["l1P"] == (2, 128 * 64 * 2)
    assert sizes["l0aQ"] == (1, 128 * 128 * 2)
    assert sizes["l0cO"] == (1, 128 * 128 * 4)


def test_buffers_of_a_memory_do_not_overlap() -> None:
    rows = plan(LLAMA)["buffers"]
    for memory in {row["memory"] for row in rows}:
        placed = sorted((row["offset_bytes"], row["end_bytes"]) for row in rows if row["memory"] == memory)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(placed))


ONE_TOO_LARGE = [
    # fields held, field raised, its steps, refused buffer, memory and its bytes
    ({"block_kv": 512, "block_q": 128}, "strip_rows", range(8, 256, 8), "UB", 196352 - 8192),
    ({"strip_rows": 8, "block_q": 128}, "block_kv", range(256, 2048, 256), "UB", 196352 - 8192),
    ({"l0_tile_kv": 16, "block_kv": 1536, "strip_rows": 8}, "l1_tile_kv", (256, 512, 768), "L1", 524288 - 256),
    ({"block_q": 16, "block_kv": 256, "l1_tile_kv": 256}, "l0_tile_kv", (64, 128, 256), "L0B", 65536),
    ({"l0_tile_kv": 64, "block_kv": 256, "strip_rows": 8, "block_q": 256}, "l0_tile_q", (64, 128, 256), "L0A", 65536),
]


@pytest.mark.parametrize(("held", "field", "steps", "memory", "limit"), ONE_TOO_LARGE, ids=lambda v: str(v)[:20])
def test_a_buffer_one_block_too_large_is_refused(
    held: dict[str, int], field: str, steps: Any, memory: str, limit: int
) -> None:
    problem = LLAMA | {"s_q": 4096, "s_kv": 4096}
    fits = []
    for value in steps:
        try:
            plan(problem, **held, **{field: value})
        except ValueError:
            break
        fits.append(value)
    assert fits, "the smallest step must fit"
    assert value not in fits, "the largest step must not fit"
    reasons = refusal(problem, **held, **{field: value})
    (reason,) = [line for line in reasons if f" in {memory} = " in line]
    end = int(reason.split("ending at ")[1].split(" B")[0])
    assert end > limit
    assert f"must be at most {limit} B, the {memory} of ascend910b2" in reason
    assert field in reason.split("; lower ")[1]


def test_a_smaller_memory_refuses_what_fitted() -> None:
    fields = PUBLIC | {"p_slots": 2}
    ub_end = max(row["end_bytes"] for row in plan(LLAMA, **fields)["buffers"] if row["memory"] == "UB")
    exact = soc_of(**{"memory.ub_usable_bytes": ub_end, "memory.ub_reserved_bytes": 0})
    assert plan(LLAMA, exact, **PUBLIC)["tiling"]["p_slots"] == 2
    smaller = exact | {"memory.ub_usable_bytes": ub_end - 1.0}
    assert plan(LLAMA, smaller, **PUBLIC)["tiling"]["p_slots"] == 1  # op_host's choice
    (reason,) = refusal(LLAMA, smaller, **fields)
    assert reason.startswith("  - ubRescale in UB = 3 x 256 B at offset ")
    assert f"ending at {ub_end} B" in reason


def test_one_block_ahead_is_chosen_only_where_nothing_else_fits() -> None:
    """With bits of the M-mask in UB, 256 rows of 1792 keys leave room for a ring of two: fewer keys are faster."""
    problem = LLAMA | {"s_q": 32768, "s_kv": 32768, "h_q": 1, "h_kv": 1, "d": 32}
    largest = {"mask": "tiling", "block_q": 256, "block_kv": 1792, "strip_rows": 8}
    assert plan(problem, **largest)["tiling"]["preload"] == 1
    chosen = plan(problem, mask="tiling")["tiling"]
    assert chosen["preload"] > 1
    assert plan(problem, preload=1, ring=2)["tiling"]["preload"] == 1


@pytest.mark.parametrize(("d", "d_v"), [(192, 128), (256, 256), (136, 136), (64, 256), (129, 1)], ids=str)
@pytest.mark.parametrize("heads", [1, 8, 32])
@pytest.mark.parametrize("soc", SOCS)
def test_wide_heads_have_a_plan_however_many_they_are(soc: str, heads: int, d: int, d_v: int) -> None:
    sizes = {"b": 1, "s_q": 4096, "s_kv": 4096, "h_q": heads, "h_kv": heads, "d": d, "d_v": d_v}
    assert plan(sizes | {"dtype": "fp16", "causal": True}, soc_of(soc))["tiling"]["block_q"] > 0


@pytest.mark.parametrize(
    ("sizes", "sliced"),
    [
        ({"s_q": 16384, "s_kv": 16384, "h_q": 1, "h_kv": 1}, True),
        ({"s_q": 16384, "s_kv": 16384, "h_q": 1, "h_kv": 1, "d": 80}, False),  # L1 has no room for all of K and V
        ({"s_q": 2048, "s_kv": 2048, "h_q": 1, "h_kv": 1}, False),  # too few blocks for a group
        ({"b": 64, "s_q": 64, "s_kv": 1024, "h_q": 16, "h_kv": 16}, False),  # no block of so many queries
        ({"b": 512, "s_q": 1, "s_kv": 8192, "h_q": 32, "h_kv": 32}, False),
    ],
    ids=["long", "wide", "little", "short", "decode"],
)
def test_slices_are_for_long_sequences_and_narrow_heads(sizes: dict[str, int], sliced: bool) -> None:
    tiling = plan(LLAMA | {"b": 1, "d": 64, "causal": False} | sizes)["tiling"]
    assert (tiling["block_q"] == 512) == sliced
    assert (tiling["slice_q"] < tiling["block_q"]) == sliced


def test_slices_must_divide_blocks_into_whole_query_tiles() -> None:
    for fields, words in (
        ({"block_q": 256, "slice_q": 96}, "slice_q = 96: must be a divisor of block_q = 256"),
        ({"block_q": 256, "slice_q": 64, "l0_tile_q": 128}, "l0_tile_q = 128: must be a divisor of slice_q = 64"),
        ({"block_q": 512, "slice_q": 512}, "slice_q = 512: must be 16 to 496"),
    ):
        with pytest.raises(ValueError, match=words):
            plan(LLAMA, **fields)
