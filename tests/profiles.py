"""What the tests of trace and report share: a small simulated run, and the same with a hazard sown into it."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pytest

from fastattention_npu import _native
from fastattention_npu.config import TilingConfig, shape_from_dict
from fastattention_npu.dispatch import make_backend
from fastattention_npu.profiling import Profile, profile
from fastattention_npu.sim import launch

# Several tasks for a core group, masked blocks, tails; two launches of it take a second. With the M-mask, so that every
# kind of operand is read.
TILING = TilingConfig({"mask": "tiling"}, "profiles")
SHAPE = {"b": 1, "s_q": 200, "s_kv": 777, "h_q": 16, "h_kv": 2, "d": 64, "causal": True}


def run_profile(groups: Sequence[int] | None = None, **options: Any) -> Profile:
    return profile(shape_from_dict(SHAPE, "probe"), make_backend("sim", tiling=TILING), groups, **options)


@lru_cache(maxsize=1)
def clean_profile() -> Profile:
    return run_profile()


class OverlappingOutputs:
    """The native module with one mistake in the launch: lse lies inside O, so that stores of both are not ordered."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_native.core(), name)

    def simulate_flash_attention(self, soc: Any, tiling: Any, blocks: Any, operands: Any, *rest: Any) -> Any:
        operands = {**operands, "lse": operands["o"]}
        return _native.core().simulate_flash_attention(soc, tiling, blocks, operands, *rest)


def hazardous_profile(monkeypatch: pytest.MonkeyPatch, groups: Sequence[int] | None = None) -> Profile:
    monkeypatch.setattr(launch, "core", OverlappingOutputs)
    return run_profile(groups)
