"""Where `torch.ops.fastattn.*` on CPU tensors compute: on the host, or on the simulated NPU inside `backend("sim")`.

The choice is a context variable: it belongs to the calling thread (or asyncio task) and ends with the `with` block. It
is read when the operator runs, so code compiled by torch.compile follows it too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import torch

from . import limits
from .config import SocConfig, TilingConfig, load_soc, load_tiling
from .errors import ArgumentError, BackendUnavailableError, Reason, did_you_mean

DEFAULT_SOC = "ascend910b2"

NO_CARD = "torch sees no NVIDIA GPU; use backend 'cpu' or 'sim', or install a torch that is built for CUDA"


@dataclass(frozen=True)
class Backend:
    """One place to compute. soc and tiling matter to sim and npu (soc None: the device's own), threads and checks to
    sim only; threads None: every CPU there is."""

    name: str = "cpu"
    soc: SocConfig | None = None
    tiling: TilingConfig | None = None
    threads: int | None = None
    checks: bool = True


_current: ContextVar[Backend] = ContextVar("fastattention_npu_backend", default=Backend())  # noqa: B039 (frozen)


def current_backend() -> Backend:
    return _current.get()


def make_backend(
    name: str,
    *,
    soc: str | Path | SocConfig | None = None,
    tiling: str | Path | TilingConfig | None = None,
    threads: int | None = None,
    checks: bool = True,
) -> Backend:
    """Checks the name and reads the files it needs; raises ArgumentError, ConfigError or BackendUnavailableError."""
    if name not in limits.BACKENDS:
        remedy = did_you_mean(name, limits.BACKENDS, "name one of these")
        raise ArgumentError(
            "no such backend", [Reason("backend", repr(name), f"one of {', '.join(limits.BACKENDS)}", remedy)]
        )
    if name == "cuda" and not torch.cuda.is_available():
        raise BackendUnavailableError(f"backend {name}: {NO_CARD}")
    if name in ("cpu", "cuda"):
        return Backend(name)
    if name == "sim" and soc is None:
        soc = DEFAULT_SOC
    return Backend(
        name,
        soc if soc is None or isinstance(soc, SocConfig) else load_soc(soc),
        tiling if tiling is None or isinstance(tiling, TilingConfig) else load_tiling(tiling),
        threads,
        checks,
    )


@contextmanager
def backend(
    name: str,
    *,
    soc: str | Path | SocConfig | None = None,
    tiling: str | Path | TilingConfig | None = None,
    threads: int | None = None,
    checks: bool = True,
) -> Iterator[Backend]:
    """Within the `with` block, operators on CPU tensors of this thread compute on backend `name`.

    Arguments:
        name: "cpu" (the native CPU kernel, PyTorch without it) or "sim" (the simulated NPU). Tensors on an NPU run
            there without it; "npu" is for giving them a tiling, and CPU tensors are an error then.
        soc, tiling: name or path of a file of configs/soc and configs/tiling; sim and npu. soc None: ascend910b2, on
            an NPU that of the device. tiling None: op_host chooses.
        threads: CPU threads of the simulator; None: all. The result has the same bits for any number.
        checks: whether the simulator looks for races and reads of memory that nobody wrote.
    """
    if name == "cuda":
        raise BackendUnavailableError(
            "backend cuda: CUDA tensors run on the GPU without it, and CPU tensors never do; move the tensors with "
            ".cuda(), or use backend 'cpu' or 'sim'"
        )
    with use(make_backend(name, soc=soc, tiling=tiling, threads=threads, checks=checks)) as chosen:
        yield chosen


@contextmanager
def use(chosen: Backend) -> Iterator[Backend]:
    """Within the `with` block, `chosen` is the current backend of this thread."""
    token = _current.set(chosen)
    try:
        yield chosen
    finally:
        _current.reset(token)
