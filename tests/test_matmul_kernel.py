"""The matmul kernel on the simulator, against NumPy."""

import struct

import numpy as np
import pytest
from planning import SOC

from fastattention_npu import _core

FIELDS = ("m", "n", "k", "trans_b", "core_m", "core_n", "grid_m", "base_m", "base_n", "base_k", "step_a", "step_b")
SHAPES = {
    "one tile": (128, 256, 64),
    "whole tiles": (256, 512, 512),
    "tails everywhere": (200, 300, 208),
    "odd columns": (96, 77, 100),
}


@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("out", ["fp16", "fp32"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_matmul_agrees_with_numpy(shape: tuple[int, int, int], out: str, trans_b: int) -> None:
    m, n, k = shape
    rng = np.random.default_rng(7)
    a = rng.standard_normal((m, k)).astype(np.float16)
    b = rng.standard_normal((n, k) if trans_b else (k, n)).astype(np.float16)
    c = np.full((m, n), np.nan, np.float16 if out == "fp16" else np.float32)
    tiling = {
        "m": m, "n": n, "k": k, "trans_b": trans_b, "core_m": 128, "core_n": 256, "grid_m": -(-m // 128),
        "base_m": 128, "base_n": 128, "base_k": 64, "step_a": 4, "step_b": 2,
    }  # fmt: skip
    blocks = tiling["grid_m"] * -(-n // 256)
    packed = struct.pack("<12I", *(tiling[field] for field in FIELDS))
    operands = {name: (x.ctypes.data, x.nbytes) for name, x in (("a", a), ("b", b), ("c", c))}
    kernel = "matmul_fp16" if out == "fp16" else "matmul_fp16_fp32"
    report = _core.simulate(kernel, SOC, packed, blocks, operands, 0, {"threads": 2})
    expected = a.astype(np.float64) @ (b.T if trans_b else b).astype(np.float64)
    # Rounding of the result; sums of k terms in fp32.
    tolerance = (2.0**-10 if out == "fp16" else 2.0**-18) * np.abs(expected).max()
    assert np.abs(c - expected).max() <= tolerance
    assert report["hazards"] == 0, report["hazard_texts"]
    assert report["warning_texts"] == []


def test_unknown_kernels_and_operands_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown kernel"):
        _core.simulate("nothing", SOC, b"", 1, {}, 0, {})
    with pytest.raises(ValueError, match="wrong size"):
        _core.simulate("mmad_bench", SOC, b"", 1, {}, 0, {})
    with pytest.raises(ValueError, match="no operand"):
        _core.simulate("mmad_bench", SOC, b"\0" * 20, 1, {"x": (64, 64)}, 0, {})
