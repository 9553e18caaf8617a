"""Runs the operator on the first NPU for `fastattn run` and `selftest`: inputs there, outputs back, time by events."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ..dispatch import Backend, backend
from ..errors import BackendUnavailableError
from .runtime import runtime

WARM_UPS, LAUNCHES = 5, 20  # on a card; a simulated launch has the same time each time


@dataclass(frozen=True)
class Timed:
    """Outputs on the host. time_us: median of the launches, between events on the stream. runner: runtime.Runtime."""

    out: Tensor
    lse: Tensor
    time_us: float
    launches: int
    device: str
    runner: str


def open_npu() -> Any:
    """torch's NPU module with a device in it; raises BackendUnavailableError with the remedy."""
    try:
        import_module("torch_npu")
    except (ImportError, RuntimeError) as error:
        raise BackendUnavailableError(
            f"backend npu: torch_npu cannot be imported ({str(error).splitlines()[0]}); on an Ascend host install it "
            "(pip install 'fastattention-npu[npu]') and source CANN's set_env.sh; elsewhere: fastattn npu-sim -- ..."
        ) from error
    npu = torch.get_device_module("npu")
    if not npu.is_available():
        raise BackendUnavailableError("backend npu: torch_npu finds no device; npu-smi info says which there are")
    return npu


def run_timed(arguments: Mapping[str, Any], chosen: Backend) -> Timed:
    """torch.ops.fastattn.flash_attention with these arguments, moved to npu:0."""
    npu = open_npu()
    moved = {name: x.to("npu:0") if isinstance(x, Tensor) else x for name, x in arguments.items()}
    runner = runtime()
    warm_ups, launches = (0, 1) if runner.simulated else (WARM_UPS, LAUNCHES)
    with backend("npu", soc=chosen.soc, tiling=chosen.tiling):
        out, lse = torch.ops.fastattn.flash_attention(**moved)  # the glue, the mask and the result
        npu.synchronize()
        for _ in range(warm_ups):
            torch.ops.fastattn.flash_attention(**moved)
        times = [_time_us(npu, moved) for _ in range(launches)]
    name = npu.get_device_name(0)
    return Timed(out.cpu(), lse.cpu(), statistics.median(times), launches, name, runner.runner)


def _time_us(npu: Any, arguments: Mapping[str, Any]) -> float:
    start, end = npu.Event(enable_timing=True), npu.Event(enable_timing=True)
    start.record()
    torch.ops.fastattn.flash_attention(**arguments)
    end.record()
    npu.synchronize()
    return start.elapsed_time(end) * 1e3
