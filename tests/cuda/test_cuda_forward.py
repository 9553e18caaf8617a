"""Prefill against float64 on a GPU: on a V100 or T4 its own machine code, on any newer card the compute_70 and
compute_75 PTX through the driver's compiler (m8n8k4 is emulated there: right, and slow)."""

from __future__ import annotations

import pytest
import torch
from cuda_cases import ALL, FEATURES
from cuda_harness import run_case
from cuda_reference import Case, attention, check


@pytest.mark.parametrize("arch", [70, 75])
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
def test_matches_float64(case: Case, arch: int, device: torch.device) -> None:
    if torch.cuda.get_device_capability(device) < (arch // 10, arch % 10):
        pytest.skip(f"this GPU is older than sm_{arch}")
    for what, error, tolerance in run_case(case, arch, device):
        assert error <= tolerance, f"{what}: error {error:.3e}, tolerance {tolerance:.3e}"


def test_checker_notices_a_wrong_result(device: torch.device) -> None:
    """Canary: the comparison must fail when one element is off by a few per cent."""
    case = FEATURES[0]
    q, k, v = (torch.randn(64, 2, 64, device=device).half() for _ in range(3))
    exact, _ = attention(q, k, v, case, torch.float64)
    same, _ = attention(q, k, v, case, torch.float16)
    wrong = same.clone()
    wrong[3, 1, 7] += 0.05
    assert check(same, exact, same)[0] <= check(same, exact, same)[1]
    error, tolerance = check(wrong, exact, same)
    assert error > tolerance
