"""Paths and the GPU level of the CUDA tests: which card is there, which reason to skip for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


@pytest.fixture(scope="session")
def device() -> torch.device:
    """A CUDA device that can run the kernels, natively or through the driver's compiler."""
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU of sm_70 or newer: torch sees none")
    capability = torch.cuda.get_device_capability()
    if capability < (7, 0):
        pytest.skip(f"needs sm_70 or newer, this GPU is sm_{capability[0]}{capability[1]}")
    return torch.device("cuda", torch.cuda.current_device())
