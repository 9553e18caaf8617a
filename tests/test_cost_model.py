"""The modelled cost: exact block counts, hand-calculated limits, and sanity under change."""

import math
from typing import Any

import numpy as np
import pytest
from planning import LLAMA, PUBLIC, SOC, packed_heads, plan

from fastattention_npu import _core


def count_blocks(problem: dict[str, Any], tiling: dict[str, Any]) -> tuple[int, int]:
    """Blocks with a visible pair, and those among them that need a mask, by asking the mask window block by block."""
    blocks = masked = 0
    packed = packed_heads(problem, tiling)
    tokens = tiling["block_q"] // packed
    for row0 in range(0, problem["s_q"], tokens):
        rows = min(tokens, problem["s_q"] - row0)
        for col0 in range(0, problem["s_kv"], tiling["block_kv"]):
            cols = min(tiling["block_kv"], problem["s_kv"] - col0)
            delta = row0 - col0 + problem["s_kv"] - problem["s_q"] if problem["causal"] else cols
            kind = _core.mask_window(delta, rows, cols)[0]
            blocks += kind != "skipped"
            masked += kind == "partial"
    heads = problem["b"] * problem["h_q"] // packed
    return blocks * heads, masked * heads


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("s_q", "s_kv"), [(1, 1), (1, 700), (700, 1), (500, 500), (1000, 3000), (3000, 1000), (513, 9)]
)
@pytest.mark.parametrize("pack", [0, 1])
def test_schedule_counts_exactly_the_visible_blocks(s_q: int, s_kv: int, causal: bool, pack: int) -> None:
    problem = LLAMA | {"b": 2, "h_q": 3, "h_kv": 1, "s_q": s_q, "s_kv": s_kv, "causal": causal}
    for block_q, block_kv in ((16, 256), (64, 256), (128, 512)):
        answer = plan(problem, block_dim=1, block_q=block_q, block_kv=block_kv, pack_gqa=pack)
        model = answer["model"]
        assert (model["blocks"], model["masked_blocks"]) == count_blocks(problem, answer["tiling"])
        heads, tokens = (2, block_q // 3) if pack else (6, block_q)
        assert model["tasks"] == heads * math.ceil(s_q / tokens)


def test_limit_is_the_hand_calculation() -> None:
    limit = plan(LLAMA | {"causal": False, "s_q": 16384, "s_kv": 16384})["model"]["limit_pipe_cycles"]
    pairs = 32 * 16384**2
    outputs = 32 * 16384 * 128
    partials = pairs / 1024 * 128  # 320 rows of 1024 keys: of what UB holds they ask the ports for the fewest bytes
    assert limit["cube"] == pytest.approx(pairs * 128 * 2 / 4096 / 24)
    assert limit["fixpipe"] == pytest.approx((pairs + partials) * 4 / 66 / 24)
    assert limit["vector"] == pytest.approx(pairs / 64 * 6 / 48)
    bytes_l2 = 2 * pairs * 6 + 2 * partials * 4 + outputs * 2 + 32 * (16384**2 / 320 - 51 * 864) * 256 * 2
    assert limit["l2"] == pytest.approx(bytes_l2 / (SOC["shared.l2_gbps"] * 1e9 / 1800e6), rel=1e-6)
    assert limit["hbm"] == pytest.approx((4 * outputs * 2 + 32 * 16384 * 4) / (SOC["shared.hbm_gbps"] * 1e9 / 1800e6))
    causal = plan(LLAMA | {"s_q": 300, "s_kv": 200, "h_q": 1, "h_kv": 1})["model"]["limit_pipe_cycles"]
    assert causal["cube"] == pytest.approx(np.tri(300, 200, -100).sum() * 128 * 2 / 4096 / 24)


def cycles(problem: dict[str, Any], soc: dict[str, Any] = SOC, **overrides: int) -> float:
    return plan(problem, soc, **overrides)["model"]["cycles"]


def test_more_work_takes_longer() -> None:
    assert cycles(LLAMA) < cycles(LLAMA | {"causal": False})
    lengths = [cycles(LLAMA | {"s_q": s, "s_kv": s}, **PUBLIC) for s in (512, 1024, 2048, 4096)]
    assert lengths == sorted(set(lengths))
    heads = [cycles(LLAMA | {"h_q": h, "h_kv": h}, **PUBLIC) for h in (8, 32, 64)]
    assert heads == sorted(set(heads))


def test_limit_never_exceeds_the_model() -> None:
    for d in (16, 64, 128):
        for s in (64, 1000, 8192):
            for causal in (False, True):
                model = plan(LLAMA | {"s_q": s, "s_kv": s, "d": d, "causal": causal})["model"]
                assert model["limit_cycles"] < model["cycles"] - model["launch_cycles"]
                for pipe, busy in model["pipe_cycles"].items():
                    assert model["limit_pipe_cycles"][pipe] <= busy * (1 + 1e-9), pipe


def test_faster_parts_do_not_slow_the_model_down() -> None:
    for key in ("fixpipe.gm_bytes_per_cycle", "mte1.l0b_bytes_per_cycle", "mte2.l1_bytes_per_cycle", "shared.hbm_gbps"):
        assert cycles(LLAMA, SOC | {key: 4 * SOC[key]}, **PUBLIC) <= cycles(LLAMA, **PUBLIC), key
    for key in ("vector.exp_cycles", "vector.simple_cycles", "cube.head_cycles", "sync.cross_core_cycles"):
        assert cycles(LLAMA, SOC | {key: SOC[key] / 4}, **PUBLIC) <= cycles(LLAMA, **PUBLIC), key


def test_fewer_groups_take_longer_and_deeper_preload_does_not() -> None:
    groups = [cycles(LLAMA, **PUBLIC, block_dim=n) for n in (1, 6, 24)]
    assert groups == sorted(groups, reverse=True)
    shallow = PUBLIC | {"ring": 4, "preload": 1}
    assert plan(LLAMA, **shallow)["model"]["stall_cycles"] > 0
    # A deeper preload removes the stall; filling the pipeline may cost a little.
    deep = shallow | {"preload": 3}
    assert plan(LLAMA, **deep)["model"]["stall_cycles"] <= plan(LLAMA, **shallow)["model"]["stall_cycles"]
    assert cycles(LLAMA, **deep) <= 1.01 * cycles(LLAMA, **shallow)
