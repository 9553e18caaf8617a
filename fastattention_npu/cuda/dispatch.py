"""Which implementation serves a CUDA call, why, and how to see and force it.

Stage: (compute capability, problem) -> choice. The rule: Volta and Turing run the kernels of this package; Ampere and
newer run PyTorch's flash attention where it covers the case, and the sm_75 kernels otherwise. FASTATTN_CUDA_BACKEND or
the backend argument forces one of BACKENDS. Every distinct choice is logged once.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os

from ..errors import ArgumentError, Reason
from . import cache, instances, nvrtc

BACKENDS = ("auto", "sm70", "sm75", "torch")
ENV_BACKEND = "FASTATTN_CUDA_BACKEND"
LOG = logging.getLogger("fastattention_npu.cuda")


@dataclasses.dataclass(frozen=True)
class Problem:
    """What the rule looks at."""

    dtype: str = "float16"
    d: int = 64
    varlen: bool = False
    softcap: bool = False
    alibi: bool = False
    seqused: bool = False
    cached: bool = False  # a decode call

    def beyond_torch(self) -> list[str]:
        """What PyTorch's flash attention does not cover, by name."""
        names = ("softcap", "alibi", "seqused", "cached")
        missing = [name for name in names if getattr(self, name)]
        if self.d > 256:
            missing.append(f"head dim {self.d}")
        return missing


@dataclasses.dataclass(frozen=True)
class Choice:
    """backend is one of BACKENDS without auto; reason is for people."""

    backend: str
    reason: str

    @property
    def arch(self) -> int:
        """Operand layer of our kernels; 0 for PyTorch."""
        return {"sm70": 70, "sm75": 75}.get(self.backend, 0)


def choose(capability: tuple[int, int], problem: Problem, backend: str | None = None) -> Choice:
    """The rule itself: pure, so that tests and `fastattn doctor` can ask it about any card."""
    asked = backend or os.environ.get(ENV_BACKEND) or "auto"
    if asked not in BACKENDS:
        raise _refusal(f"backend (or {ENV_BACKEND})", repr(asked), f"one of {', '.join(BACKENDS)}", "name one of these")
    number = capability[0] * 10 + capability[1]
    if number < 70:
        limit = "7.0 or newer (7.0 is the oldest with matrix units)"
        raise _refusal(
            "compute capability", f"{capability[0]}.{capability[1]}", limit, "move the tensors: q.cpu(), ..."
        )
    if asked != "auto":
        return _forced(asked, number, problem)
    if number < 75:
        return Choice("sm70", f"sm_{number} is Volta: its own kernels")
    if number < 80:
        return Choice("sm75", "sm_75 is Turing: its own kernels")
    missing = problem.beyond_torch()
    if not missing:
        return Choice("torch", f"sm_{number} has PyTorch's flash attention, which covers this case")
    return Choice("sm75", f"PyTorch's flash attention does not cover {', '.join(missing)}: the sm_75 kernels do")


def _refusal(name: str, received: object, limit: str, remedy: str) -> ArgumentError:
    return ArgumentError("no kernel for this call on this card", [Reason(name, received, limit, remedy)])


def _forced(asked: str, number: int, problem: Problem) -> Choice:
    if asked == "sm75" and number < 75:
        raise _refusal("backend", "'sm75'", f"left to cards of sm_75 or newer (this one is sm_{number})", "use 'sm70'")
    if asked == "torch":
        if number < 80:
            limit = f"left to newer cards (PyTorch's flash attention starts at sm_80, this card is sm_{number})"
            raise _refusal("backend", "'torch'", limit, "use 'auto'")
        if missing := problem.beyond_torch():
            limit = f"left to calls without {', '.join(missing)} (PyTorch's flash attention does not cover them)"
            raise _refusal("backend", "'torch'", limit, "use 'auto'")
    return Choice(asked, "forced")


@functools.cache
def announce(choice: Choice) -> None:
    """One log line for each distinct choice."""
    LOG.info("attention on CUDA: %s (%s)", choice.backend, choice.reason)


def _describe_compiler(arch: int) -> str:
    try:
        compiler = nvrtc.find(arch)
    except nvrtc.NvrtcError as error:
        return f"none: {error}"
    return f"NVRTC {compiler.version_text} ({compiler.path})"


def describe(device: int = 0) -> dict[str, str]:
    """What `fastattn doctor` prints about CUDA: the card, the choice, the compiler, the cache, and what to do."""
    import torch

    report = {"torch": f"{torch.__version__}, built for CUDA {torch.version.cuda or 'none'}"}
    if not torch.cuda.is_available():
        report["card"] = "none that torch sees; the kernels can still be compiled, not run"
        capability = None
    else:
        capability = torch.cuda.get_device_capability(device)
        report["card"] = f"{torch.cuda.get_device_name(device)}, sm_{capability[0]}{capability[1]}"
        try:
            choice = choose(capability, Problem())
            report["attention"] = f"{choice.backend} ({choice.reason})"
        except ValueError as error:
            report["attention"] = f"none: {error}"
    report |= {f"compiler for sm_{arch}": _describe_compiler(arch) for arch in (70, 75)}
    folder = cache.folder()
    count = len(list(folder.glob("*-nvrtc*"))) if folder.is_dir() else 0
    report["kernel cache"] = f"{folder} ({count} kernels of this and other versions)"
    report["limits"] = f"float16, head dim 1..{instances.MAX_HEAD_DIM}, page sizes that are multiples of 16"
    return report
