"""Fixtures of the CPU tests: every target of this machine, seeded inputs, and poisoned outputs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

pytest.importorskip("fastattention_npu._core", reason="the native module is not built")

from fastattention_npu import cpu

WANTED_TARGETS = ("avx512", "avx2", "neon", "portable")


@pytest.fixture(params=WANTED_TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param not in cpu.targets():
        pytest.skip(f"{request.param}: not in this build or not on this processor ({', '.join(cpu.targets())})")
    with cpu.forced_target(request.param):
        yield request.param


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(7)
