"""Fixtures of the CPU tests: every target of this machine, seeded inputs, and poisoned outputs."""

from __future__ import annotations

import platform
from collections.abc import Iterator

import pytest
import torch

from fastattention_npu import cpu

ARM = platform.machine() in ("aarch64", "arm64")
WANTED_TARGETS = ("neon", "portable") if ARM else ("avx512", "avx2", "portable")


@pytest.fixture(params=WANTED_TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param not in cpu.targets():
        pytest.skip(f"{request.param}: not in this build or not on this processor ({', '.join(cpu.targets())})")
    with cpu.forced_target(request.param):
        yield request.param


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """The references are small; torch's own threads would only wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(7)
