"""What op_host refuses and in which words: every reason at once, with value, limit and remedy."""

import math
from typing import Any

import pytest
from planning import LLAMA, PUBLIC, plan, refusal, soc_of

from fastattention_npu import _core

BAD_PROBLEMS = [
    ({"b": 0}, "b = 0: must be 1 to 65535"),
    ({"s_q": -1}, "s_q = -1: must be 1 to "),
    ({"s_kv": 0}, "s_kv = 0: must be 1 to "),
    ({"s_kv": 1 << 31}, "split the keys and combine by lse"),
    ({"s_q": 1 << 70}, "must be a 64-bit integer"),
    ({"h_kv": 0}, "h_kv = 0: must be 1 to 65535"),
    ({"h_kv": 5}, "h_q = 32: must be a multiple of h_kv = 5"),
    ({"d": 0}, "d = 0: must be 1 to 256"),
    ({"d": 300}, "d = 300: must be 1 to 256"),
    ({"d_v": 257}, "d_v = 257: must be 1 to 256"),
    ({"dtype": "fp32"}, "dtype = 'fp32': must be fp16 or bf16"),
    ({"layout": "SBH"}, "layout = 'SBH': must be one of BSND (BSHD), BNSD (BHSD), BSH, TND"),
    ({"layout": "TND"}, "layout = 'TND': must be used with has_cu_seqlens"),
    ({"softcap": -1.0}, "softcap = -1: must be 0 (off) or a finite positive number"),
    ({"window_left": 2**31}, "window_left = 2147483648: must be at most 2147483647"),
    ({"softmax_scale": math.inf}, "softmax_scale = inf: must be a finite fp32 number"),
    ({"softmax_scale": math.nan}, "softmax_scale = nan: must be a finite fp32 number"),
    ({"softmax_scale": "1"}, "softmax_scale = '1': must be a number"),
    ({"causal": 1}, "causal = 1: must be true or false"),
    ({"d": 64.0}, "d = 64.0: must be a 64-bit integer"),
    ({"b": True}, "b = True: must be a 64-bit integer"),
    ({"window": 3}, "window = 3: must be one of b, s_q,"),
    ({"strides": {"k": (1, 1 << 31, 128)}}, "k seq stride = 2147483648: must be 1 to 2147483647"),
    ({"strides": {"o": (1, 1 << 31, 128)}}, "o seq stride = 2147483648: must be 1 to 2147483647"),
    ({"strides": {"q": (1, 1 << 31, 128)}}, "use the BNSD layout"),
    ({"strides": {"v": (1, -2, 3)}}, "v seq stride = -2: must be "),
    ({"strides": {"o": (1 << 20, 16, 4096)}}, "o seq stride = 16: must be at least d = 128"),
    ({"strides": {"k": (1, 2)}}, "strides of k = (1, 2): must be three integers"),
    ({"strides": {"x": (1, 2, 3)}}, "strides of x = (1, 2, 3): must be one of q, k, v, o"),
    ({"strides": 3}, "strides = 3: must be a dict"),
    ({"b": 4096, "s_q": 65536, "s_kv": 65536}, "must be at most 64 GiB (HBM of ascend910b2)"),
]


@pytest.mark.parametrize(("change", "text"), BAD_PROBLEMS, ids=lambda v: str(v)[:40])
def test_bad_problem(change: dict[str, Any], text: str) -> None:
    reasons = refusal(LLAMA | change)
    assert any(text in reason for reason in reasons), reasons


BAD_OVERRIDES = [
    ({"block": 3}, "block = 3: must be one of block_q, slice_q, block_kv, ring,"),
    ({"num_blocks_q": 3}, "num_blocks_q = 3: must be one of block_q,"),
    ({"block_q": 24}, "block_q = 24: must be 16 to 512 in multiples of 16 (rows of whole cube fractals); use 16 or 32"),
    ({"block_q": 0}, "block_q = 0: must be 16 to 512"),
    ({"block_kv": 384}, "use 256 or 512"),
    ({"block_kv": 2048}, "uint8 repeat stride"),
    ({"ring": 15, "preload": 14}, "preload = 14: must be 1 to 13"),
    ({"ring": 15}, "ring = 15: must be 2 to 14 (cross-core flags count to 15)"),
    ({"ring": -3}, "ring = -3: must be 2 to 14"),
    ({"preload": 0}, "preload = 0: must be 1 to 13"),
    ({"ring": 3, "preload": 3}, "ring = 3: must be at least preload + 1 = 4 slots"),
    ({"l1_tile_kv": 20}, "l1_tile_kv = 20: must be 16 to 16384 in multiples of 16 (ND2NZ nValue)"),
    ({"l1_tile_kv": 384, "block_kv": 512}, "l1_tile_kv = 384: must be a divisor of block_kv = 512"),
    ({"l0_tile_kv": 48, "l1_tile_kv": 128}, "l0_tile_kv = 48: must be a divisor of l1_tile_kv = 128"),
    ({"l0_tile_kv": 8192}, "l0_tile_kv = 8192: must be 16 to 4080"),
    ({"l0_tile_kv": 768, "block_kv": 768}, "LoadData repeats of an L0 tile = 384: must be at most 255 fractals"),
    ({"strip_rows": 12}, "strip_rows = 12: must be 8 to 248 in multiples of 8"),
    ({"mask_block": 100}, "mask_block = 100: must be 256 to 2048"),
    ({"mask_block": 256, "block_kv": 512}, "mask_block = 256: must be at least max(block_q, block_kv) = 512"),
    ({"block_dim": 0}, "block_dim = 0: must be 1 to "),
    ({"block_dim": 25}, "block_dim = 25: must be at most the 24 cube cores of ascend910b2"),
    ({"block_q": 1 << 33}, "block_q = 8589934592: must be 16 to 512"),
    ({"block_q": 1 << 80}, "must be a 64-bit integer"),
    ({"block_q": "big"}, "block_q = 'big': must be a 64-bit integer"),
]


@pytest.mark.parametrize(("overrides", "text"), BAD_OVERRIDES, ids=lambda v: str(v)[:40])
def test_bad_override(overrides: dict[str, Any], text: str) -> None:
    reasons = refusal(LLAMA, **overrides)
    assert any(text in reason for reason in reasons), reasons


def test_all_reasons_come_at_once() -> None:
    reasons = refusal(
        LLAMA | {"d": 300, "h_kv": 5, "s_q": -1, "windw": 1, "dtype": 3, "layout": "XYZ"}, blok=3, ring=1, strip_rows=3
    )
    names = [reason.split(" = ")[0].removeprefix("  - ") for reason in reasons]
    assert sorted(names) == sorted(["d", "d_v", "h_q", "s_q", "windw", "dtype", "layout", "blok", "ring", "strip_rows"])
    fields = refusal(LLAMA, ring=2, preload=2, block_kv=1024, mask_block=256, strip_rows=32, block_dim=99, block_q=7)
    names = [reason.split(" = ")[0].removeprefix("  - ") for reason in fields]
    assert sorted(names) == sorted(["ring", "mask_block", "ubS in UB", "block_dim", "block_q"])


def test_missing_keys_are_all_named() -> None:
    assert [line.split(" = ")[0].removeprefix("  - ") for line in refusal({"dtype": "fp16"})] == [
        "b", "s_q", "s_kv", "h_q", "h_kv", "d",
    ]  # fmt: skip


def test_bad_soc_values_are_all_named() -> None:
    soc = soc_of(**{"cores.aic": 2.5, "cube.head_cycles": -1, "memory.l1_bytes": 0, "cube.spin": 1})
    del soc["clock.mhz"]
    soc["sync.flag_cycles"] = "fast"
    with pytest.raises(ValueError, match=r"this SoC description cannot be used \(6 reasons\)") as caught:
        plan(LLAMA, soc)
    for name in ("cores.aic = 2.5", "cube.head_cycles = -1", "memory.l1_bytes = 0", "cube.spin = 1",
                 "clock.mhz = missing", "sync.flag_cycles = 'fast'"):  # fmt: skip
        assert f"- {name}" in str(caught.value)


def test_limits_table_is_what_the_code_obeys() -> None:
    for name, row in _core.limits().items():
        assert row["min"] <= row["max"], name
        assert row["why"] in row["text"], name
        assert row["min"] % row["multiple"] == row["max"] % row["multiple"] == 0, name
        for value in (row["min"] - 1, row["max"] + 1):
            if row["group"] == "tiling":
                assert any(f"{name} = {value}: must be {row['text']}" in r for r in refusal(LLAMA, **{name: value}))
            elif name in LLAMA:
                assert any(f"{name} = {value}: must be {row['text']}" in r for r in refusal(LLAMA | {name: value}))
    assert {n for n, row in _core.limits().items() if row["group"] == "tiling"} == {
        *PUBLIC,
        "mask",
        "mask_block",
        "s_exchange",
        "pack_gqa",
        "p_slots",
        "l1_tile_v",
        "l1_tile_p",
        "l0_tile_q",
        "slice_q",
        "block_dim",
        "schedule",
        "block_units",
        "task_units",
    }
