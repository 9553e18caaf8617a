"""The baseline of the benchmarks, three kernels through GM, against float64; and that its time can be had."""

import numpy as np
import pytest
import torch
from planning import SOC

from fastattention_npu import reference
from fastattention_npu.bench.standard_attention import standard_attention, standard_cycles
from fastattention_npu.errors import ArgumentError

CASES = {
    "one tile": (2, 128, 128, 64),
    "tails": (3, 100, 300, 40),
    "rows of two segments": (1, 40, 1500, 64),
    "wide head": (1, 70, 200, 192),
}


def inputs(heads: int, s_q: int, s_kv: int, d: int) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal((heads, s, d)).astype(np.float16) for s in (s_q, s_kv, s_kv)]


def check(out: np.ndarray, operands: list[np.ndarray], causal: bool) -> reference.Comparison:
    q, k, v = (torch.from_numpy(x)[None] for x in operands)
    arguments = {"q": q, "k": k, "v": v, "causal": causal, "layout": "bnsd"}
    expected, _ = reference.attention_float64(**arguments)
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5  # rounded to fp16, as the baseline rounds them
    if causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1 + scores.shape[-1] - scores.shape[-2])
        scores = scores.masked_fill(hidden, -torch.inf)
    same = torch.softmax(scores.float(), -1).half() @ v
    return reference.check(torch.from_numpy(out)[None], expected, same)


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_matches_float64(case: tuple[int, int, int, int], causal: bool) -> None:
    operands = inputs(*case)
    out, reports = standard_attention(*operands, SOC, causal)
    assert [report["hazard_texts"] + report["warning_texts"] for report in reports] == [[], [], []]
    comparison = check(out, operands, causal)
    assert comparison.ok, comparison.reasons


def test_canary_a_wrong_result_is_noticed() -> None:
    operands = inputs(*CASES["one tile"])
    out, _ = standard_attention(*operands, SOC, False)
    assert not check(out, operands, True).ok


def test_time_grows_with_the_scores() -> None:
    problem = {"b": 1, "h_q": 2, "h_kv": 2, "s_q": 512, "s_kv": 512, "d": 64, "causal": False}
    short, long = standard_cycles(problem, SOC), standard_cycles(problem | {"s_q": 2048, "s_kv": 2048}, SOC)
    launch = SOC["launch.cycles"]
    assert all(x < y for x, y in zip(short, long, strict=True))
    assert sum(x - launch for x in long) > 4 * sum(x - launch for x in short)


def test_what_the_baseline_cannot_do_is_one_error() -> None:
    problem = {"b": 1, "h_q": 4, "h_kv": 2, "s_q": 30000, "s_kv": 29000, "d": 64, "causal": True}
    with pytest.raises(ArgumentError) as error:
        standard_cycles(problem, SOC)
    assert all(name in str(error.value) for name in ("h_kv", "s_q", "s_kv"))
