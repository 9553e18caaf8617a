"""append_kv_cache_ on the simulated NPU, over host tensors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .._native import core
from ..cache_call import KERNEL, Append
from ..config import SocConfig
from ..dispatch import Backend
from ..errors import warn_of
from .launch import default_threads


def append(call: Append, backend: Backend) -> Tensor:
    """Runs a checked call; the lengths afterwards, (b) int32. SimulatorError if the chip would refuse it."""
    assert backend.soc is not None, "a sim backend has a SoC"
    lengths = torch.full_like(call.cache_seqlens, torch.iinfo(torch.int32).min)
    settings = {"threads": backend.threads or default_threads(), "checks": backend.checks}
    report = simulate(call, lengths, backend.soc, settings)
    if report["hazards"]:
        texts = "\n  ".join(report["hazard_texts"])
        raise core().SimulatorError(f"{report['hazards']} hazards, accesses that no flag orders:\n  {texts}")
    warn_of(report["warning_texts"])
    return lengths


def simulate(call: Append, lengths: Tensor, soc: SocConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The simulator's report of a checked call, whatever it found; fills lengths."""
    plan, operands = call.plan(soc), call.ranges(lengths)
    tiling, groups = plan["tiling_bytes"], plan["block_dim"]
    return dict(core().simulate(KERNEL, soc.values(), tiling, groups, operands, 0, dict(settings)))
