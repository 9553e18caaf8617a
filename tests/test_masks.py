"""Masks of the attention kernel on the simulated NPU: the three mask modes and mask tensors, against float64."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fastattention_npu import _core, sim
from fastattention_npu.bench import kernel_cases
from fastattention_npu.bench.kernel_cases import SMALL_TILING, Case
from fastattention_npu.config import load_tiling
from fastattention_npu.errors import ConfigError
from fastattention_npu.kernel_call import extent_bytes
from fastattention_npu.kernel_masks import mask_operand
from tests.planning import SOC, plan

MODES = ("tiling", "predicate", "full")
SPLIT = {"schedule": 1, "block_dim": 3}


def with_mode(mode: str, **more: Any) -> dict[str, Any]:
    return {**SMALL_TILING, "mask": mode, **more}


WINDOWED = [
    Case(100, 300, causal=True, d=32),
    Case(300, 40, causal=True, h_q=2),  # rows without any key
    Case(100, 700, h_q=2, window=(40, 30)),
    Case(300, 500, window=(300, -1)),
    Case(200, 60, window=(-1, 5), h_q=2, dtype="bf16"),
    Case(70, 300, window=(0, 0)),
    Case(50, 330, alibi=True, causal=True, h_q=4, h_kv=2, layout="BNSD"),
    Case(64, 530, causal=True, sinks=True, softcap=5.0, d_v=40),
]
TENSORS = [
    Case(50, 330, h_q=2, b=2, mask=(kind, dims), dtype=dtype)
    for kind, dims, dtype in (
        ("bool", "bhqk", "fp16"),
        ("bool", "k", "bf16"),
        ("bool", "bqk", "fp16"),
        ("add", "bhqk", "fp16"),
        ("add", "hqk", "bf16"),
        ("add", "bk", "fp16"),
        ("fp32", "qk", "bf16"),
        ("fp32", "k", "fp16"),
    )
] + [
    Case(70, 600, h_q=4, h_kv=2, mask=("bool", "hqk"), causal=True, softcap=4.0, alibi=True, sinks=True),
    Case(70, 600, h_q=2, mask=("add", "qk"), window=(200, 20), tiling=with_mode("predicate")),
    Case(33, 520, b=3, used=(0, 520, 257), mask=("fp32", "bqk")),
    Case(1, 330, h_q=4, h_kv=2, b=2, mask=("bool", "bhqk"), layout="BNSD"),
    Case(130, 900, h_q=2, mask=("bool", "hk"), causal=True, tiling=with_mode("tiling", **SPLIT)),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", WINDOWED, ids=str)
def test_every_mode_hides_what_the_windows_hide(case: Case, mode: str) -> None:
    verdict = replace(case, tiling=with_mode(mode)).run()
    assert verdict.how == "clean", verdict.text


@pytest.mark.parametrize("case", TENSORS, ids=str)
def test_mask_tensor(case: Case) -> None:
    verdict = case.run()
    assert verdict.how == "clean", verdict.text


@pytest.mark.parametrize("mode", MODES)
def test_lengths_on_the_device(mode: str) -> None:
    packed = Case(65, 300, causal=True, lens=((40, 300), (0, 5), (65, 65), (9, 0)), tiling=with_mode(mode))
    used = Case(64, 530, b=2, causal=True, used=(530, 300), tiling=with_mode(mode))
    for case in (packed, used):
        if mode == "full":
            with pytest.raises(ValueError, match="mask = full: must be tiling or predicate where lengths"):
                case.run()
        else:
            assert case.run().how == "clean"


@pytest.mark.parametrize("kind", ["bool", "add", "fp32"])
def test_canary_another_mask_is_caught(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(40, 300, mask=(kind, "qk"))
    prepared = kernel_cases.prepare(case)
    mask = np.array(prepared.inputs["attn_mask"])
    mask[0, 0, 7, 5] = False if kind == "bool" else 3
    other = replace(prepared, inputs=prepared.inputs | {"attn_mask": mask})
    problem = kernel_cases._problem(case, other.inputs)
    other = replace(other, plan=_core.plan(problem, prepared.soc, dict(case.tiling)))
    monkeypatch.setattr(kernel_cases, "prepare", lambda _: other)
    assert case.run().how == "wrong result"


# --- the tensor as users have it -------------------------------------------------------------------------------------


def simulate(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """O of the simulated kernel and of PyTorch in float64, both (b, s, h, d)."""
    b, s_q, s_kv, h, d = 2, 40, 300, 2, 32
    generator = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(b, s, h, d, generator=generator).half() for s in (s_q, s_kv, s_kv))
    operand, keys = mask_operand(mask, (b, h, s_q, s_kv))
    sizes = {"b": b, "s_q": s_q, "s_kv": s_kv, "h_q": h, "h_kv": h, "d": d, "dtype": "fp16"}
    answer = plan(sizes | keys)
    constants = _core.device_constants(answer["tiling"]["mask_block"], answer["tiling"]["mask"])
    tensors = {"q": q, "k": k, "v": v, "o": torch.full_like(q, torch.nan), "lse": torch.zeros(b, h, s_q)}
    tensors |= {"attn_mask": operand, "mask": torch.from_numpy(constants)}
    report = _core.simulate_flash_attention(
        SOC,
        answer["tiling_bytes"],
        answer["block_dim"],
        {name: (tensor.data_ptr(), extent_bytes(tensor)) for name, tensor in tensors.items()},
        answer["workspace_bytes"],
        {"threads": 1},
    )
    assert report["hazards"] == 0, report["hazard_texts"]
    assert report["warning_texts"] == []
    bias = mask if mask.dtype == torch.bool else mask.double()
    expected = torch.nn.functional.scaled_dot_product_attention(
        *(x.double().transpose(1, 2) for x in (q, k, v)), attn_mask=bias.expand(b, h, s_q, s_kv)
    )
    return tensors["o"], expected.transpose(1, 2)


GENERATOR = torch.Generator().manual_seed(5)
MASKS = {
    "transposed": torch.rand(300, 40, generator=GENERATOR).t() < 0.7,
    "of the queries": torch.rand(2, 1, 40, 1, generator=GENERATOR) < 0.9,
    "every other key": torch.randn(1, 2, 40, 600, generator=GENERATOR).half()[..., ::2],
    "one key row": torch.randn(300, generator=GENERATOR),
    "least number": torch.where(torch.rand(40, 300, generator=GENERATOR) < 0.5, torch.finfo(torch.float32).min, 0.0),
    "overlapping rows": torch.randn(400, generator=GENERATOR).half().as_strided((40, 300), (1, 1)),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_as_they_come(name: str) -> None:
    mask = MASKS[name]
    if name == "least number":
        mask[7] = torch.finfo(torch.float32).min  # every key alike: the mean of V, not nothing
    out, expected = simulate(mask)
    shown = expected.isfinite()  # PyTorch has NaN where a row is hidden whole
    assert (out[shown] - expected[shown]).abs().max() < 2e-3
    assert not out[~shown].any()


def test_keys_that_lie_side_by_side_are_not_copied() -> None:
    mask = torch.zeros(1, 1, 40, 301)[..., :300]
    operand, keys = mask_operand(mask, (2, 2, 40, 300))
    assert operand.data_ptr() == mask.data_ptr()
    assert keys == {"mask_dtype": "fp32", "mask_strides": [0, 0, 301, 1]}


# --- refusals and the tiling file ------------------------------------------------------------------------------------

PROBLEM = {"b": 1, "s_q": 64, "s_kv": 64, "h_q": 2, "h_kv": 2, "d": 64, "dtype": "fp16"}
REFUSED = [
    ({"mask_dtype": "int8", "mask_strides": (0, 0, 64, 1)}, {}, "mask_dtype = 'int8': must be bool, fp32 or that of q"),
    ({"mask_dtype": "bf16", "mask_strides": (0, 0, 64, 1)}, {}, "mask_dtype = 'bf16': must be bool"),
    ({"mask_dtype": "bool", "mask_strides": (0, 0, 1, 64)}, {}, "mask key stride = 64: must be 1"),
    ({"mask_dtype": "bool", "mask_strides": (0, 0, -1, 1)}, {}, "mask query stride = -1: must be 0 to"),
    ({"mask_dtype": "bool", "mask_strides": (0, 1)}, {}, r"mask_strides = \(0, 1\): must be four integers"),
    (
        {"mask_dtype": "bool", "mask_strides": (0, 0, 64, 1), "causal": True},
        {"mask": "full"},
        "mask = full: must be tiling or predicate with causal or a window and a mask tensor",
    ),
    ({"mask_dtype": "fp32", "mask_strides": (1 << 34, 0, 64, 1), "b": 2}, {}, "q, k, v, o and the mask = 64"),
    (
        {"s_q": 1 << 19, "s_kv": 1 << 19, "causal": True},
        {"mask": "full"},
        "mask = full: 256 GiB: must be at most 64 GiB",
    ),
    ({}, {"mask": "ful"}, "mask = 'ful': must be one of tiling, predicate, full"),
    ({}, {"mask": 3}, "mask = 3: must be 0 to 2"),
]


@pytest.mark.parametrize(("problem", "tiling", "words"), REFUSED)
def test_refusals(problem: dict[str, Any], tiling: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _core.plan(PROBLEM | problem, SOC, tiling)


def test_the_tiling_file_spells_modes_by_name(tmp_path: Path) -> None:
    file = tmp_path / "mode.yaml"
    file.write_text("mask: predicate\n")
    assert load_tiling(file).fields == {"mask": "predicate"}
    assert plan(PROBLEM, mask="predicate")["tiling"]["mask"] == "predicate"
    assert plan(PROBLEM, mask="tiling")["tiling"]["mask"] == "tiling"
    assert plan(PROBLEM)["tiling"]["mask"] == "predicate"
    file.write_text("mask: predicat\n")
    with pytest.raises(ConfigError, match="did you mean predicate"):
        load_tiling(file)
    file.write_text("mask: 1\n")
    with pytest.raises(ConfigError, match="mask = 1: must be one of tiling, predicate, full"):
        load_tiling(file)


def test_a_tiling_file_chooses_the_mode_of_a_launch(tmp_path: Path) -> None:
    q, k = (torch.randn(1, s, 2, 32, generator=GENERATOR).half() for s in (70, 300))
    outputs = []
    for mode in MODES:
        file = tmp_path / f"{mode}.yaml"
        file.write_text(f"mask: {mode}\nblock_q: 64\nblock_kv: 256\nstrip_rows: 8\n")
        out, lse, report = sim.flash_attention(q, k, k, causal=True, tiling=file, return_report=True)
        assert report.plan["tiling"]["mask"] == mode
        outputs.append(torch.cat([out.flatten().float(), lse.flatten()]))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


def test_full_without_windows_needs_no_tensor() -> None:
    assert plan(PROBLEM, mask="full")["tiling"]["mask_tensor"] == "none"
    assert plan(PROBLEM | {"causal": True}, mask="full")["tiling"]["mask_tensor"] == "windows"


def test_only_the_tiling_mode_needs_an_m_mask() -> None:
    ramp = np.arange(256, dtype=np.float32)
    for mode in ("predicate", "full"):
        assert np.array_equal(_core.device_constants(256, mode).view(np.float32), ramp)
    assert _core.device_constants(256, "tiling").size == 512 * 512 // 8 + ramp.nbytes
    with pytest.raises(ValueError, match="mask = 'none'"):
        _core.device_constants(256, "none")
