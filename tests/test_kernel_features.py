"""The forward kernel's features and their combinations against float64, at the level of the kernel.

The accuracy rule of the operator's tests (twice PyTorch's own error) is test_sim_attention.py's; here a result is right
within the rounding of P and O, special rows are exact, and nothing raced.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fastattention_npu import _core
from fastattention_npu.bench import kernel_cases
from fastattention_npu.bench.kernel_cases import SMALL_TILING, Case, prepare, run_case
from fastattention_npu.bench.mutation_cases import CASES

SPLIT = {**SMALL_TILING, "block_dim": 3, "stagger": 8}
PACKED = {**SMALL_TILING, "pack_gqa": 1, "block_dim": 2}
COMBINATIONS = [
    # Every head dim class, d_v on either side of d_qk, in both types.
    *(
        Case(40, 300, d=d, d_v=d_v, h_q=2, causal=d % 2 == 0, dtype=dtype)
        for dtype in ("fp16", "bf16")
        for d, d_v in ((1, 256), (16, 17), (40, 8), (64, 128), (100, 100), (192, 128), (256, 1))
    ),
    # s_q <, =, > s_kv with windows left, right, both, neither.
    *(
        Case(s_q, s_kv, window=window, h_q=2, dtype="bf16")
        for s_q, s_kv in ((33, 300), (100, 100), (300, 33))
        for window in ((-1, -1), (-1, 0), (20, -1), (20, 7), (0, 0))
    ),
    # All score modifiers at once, in every layout and dtype, with and without packing and splitting.
    *(
        Case(17, 600, h_q=6, h_kv=2, b=2, window=(300, 3), softcap=5.0, alibi=True, sinks=True, d=40, d_v=24,
             dtype=dtype, layout=layout, tiling=tiling)
        for dtype in ("fp16", "bf16")
        for layout in ("BSND", "BNSD")
        for tiling in (SMALL_TILING, SPLIT, PACKED)
    ),
    # Packed sequences: empty queries, empty keys, more queries than keys, longer than a block.
    *(
        Case(100, 300, h_q=4, h_kv=2, causal=True, sinks=sinks, alibi=not sinks, dtype=dtype, d_v=40,
             lens=((0, 9), (9, 0), (100, 300), (0, 0), (65, 20), (1, 300)), tiling=tiling)
        for dtype in ("fp16", "bf16")
        for sinks in (False, True)
        for tiling in (SMALL_TILING, SPLIT, PACKED)
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", COMBINATIONS, ids=str)
def test_combinations(case: Case) -> None:
    verdict = case.run()
    assert verdict.how == "clean", verdict.text


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_cases_that_judge_mutants(case: Case) -> None:
    verdict = case.run()
    assert verdict.how == "clean", verdict.text


HIDDEN = [
    Case(300, 40, causal=True, h_q=2),
    Case(300, 40, causal=True, h_q=2, dtype="bf16", tiling={**SMALL_TILING, "mask": "tiling"}),
    Case(300, 40, causal=True, h_q=2, tiling={**SMALL_TILING, "mask": "full"}),
    Case(70, 300, h_q=2, mask=("bool", "qk")),
    Case(70, 300, h_q=2, mask=("add", "hqk"), dtype="bf16"),
    Case(16, 5, h_q=8, h_kv=2, causal=True, tiling=PACKED),
    Case(33, 520, b=2, used=(0, 520), tiling=SPLIT),
    Case(65, 300, causal=True, lens=((9, 0), (65, 20))),
]


@pytest.mark.parametrize("case", HIDDEN, ids=str)
def test_rows_that_see_nothing_are_exact(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """O = 0 and lse = -inf to the bit; tolerances of zero where float64 has them."""
    seen: list[tuple[str, Any, Any]] = []
    genuine = kernel_cases.compare
    monkeypatch.setattr(
        kernel_cases,
        "compare",
        lambda name, got, wanted, tol: seen.append((name, got, wanted)) or genuine(name, got, wanted, tol),
    )
    assert case.run().how == "clean"
    (_, o, _), (_, lse, expected) = seen
    hidden = np.isneginf(expected)
    assert hidden.any()
    assert np.isneginf(lse[hidden]).all()
    rows = o.swapaxes(-3, -2) if case.layout == "BSND" else o  # heads before tokens, as in lse
    assert not rows[hidden].any()


@pytest.mark.parametrize("case", [COMBINATIONS[-1], *HIDDEN[1:6:2], COMBINATIONS[30]], ids=str)
def test_same_bits_for_any_number_of_threads(case: Case) -> None:
    bits = {run_case(case, threads=threads).fingerprint for threads in (1, 2, 2, 5)}
    assert len(bits) == 1
    assert None not in bits


@pytest.mark.parametrize(
    "case",
    [Case(20, 40, h_q=2, h_kv=1, causal=True), Case(3, 40, h_q=4, h_kv=2, tiling=PACKED)],
    ids=str,
)
def test_rows_further_apart_than_one_copy_can_say(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """65536 elements and more from row to row: each row travels by itself."""
    apart = 70000
    prepared = prepare(case)
    spread = {}
    for name in "qkv":
        dense = prepared.inputs[name]
        memory = np.zeros((*dense.shape[:2], apart), dense.dtype)
        spread[name] = np.lib.stride_tricks.as_strided(
            memory, dense.shape, (memory.strides[0], memory.strides[1], dense.strides[2], dense.strides[3])
        )
        spread[name][...] = dense
    strides = {name: [stride // 2 for stride in array.strides[:3]] for name, array in spread.items()}
    plan = _core.plan(kernel_cases._problem(case, spread) | {"strides": strides}, prepared.soc, dict(case.tiling))
    assert plan["tiling"]["k_strides"][1] == apart
    other = replace(prepared, inputs=prepared.inputs | spread, plan=plan)
    monkeypatch.setattr(kernel_cases, "prepare", lambda _: other)
    verdict = case.run()
    assert verdict.how == "clean", verdict.text


def test_canary_a_reference_that_is_off_is_noticed() -> None:
    case = Case(17, 300, h_q=2, dtype="bf16")
    prepared = prepare(case)
    assert kernel_cases.compare("o", prepared.o + 0.1, prepared.o, kernel_cases.O_TOLERANCE["bf16"]) is not None
