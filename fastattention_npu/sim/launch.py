"""One launch of the FlashAttention kernel on the simulated NPU: poisoned outputs, plan, simulate.

Arguments come checked (arguments.py); nothing is copied: the simulated chip's global memory is the tensors' own memory.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .._native import core
from ..argument_values import check_values
from ..arguments import Problem
from ..dispatch import Backend
from ..errors import warn_of
from ..kernel_call import as_views, make_call, plan_or_refuse, problem_dict
from ..options import Options


@dataclass(frozen=True)
class SimReport:
    """What a launch was and what the simulator found; times and counts are simulated, `wall_s` is of the host.

    plan: op_host's answer (tiling, buffers, modelled cost). figures: cycles, time_us, pipe_busy, cube_utilisation,
    bottleneck, gm_bytes_read, gm_bytes_written, l2_hit_bytes, hazards, ... Both empty if there was nothing to launch.
    """

    soc: str
    plan: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    wall_s: float = 0.0


@dataclass(frozen=True)
class Launch:
    outputs: tuple[Tensor, Tensor]
    report: SimReport

    def outputs_without_hazards(self) -> tuple[Tensor, Tensor]:
        """The outputs; SimulatorError if accesses raced, for then they are a matter of luck."""
        count = self.report.figures.get("hazards", 0)
        if count:
            texts = "\n  ".join(self.report.figures.get("hazard_texts", ()))
            advice = "return_report=True returns the outputs with the report"
            raise core().SimulatorError(f"{count} hazards, accesses that no flag orders ({advice}):\n  {texts}")
        return self.outputs


def default_threads() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def launch_flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: Options,
    p: Problem,
    backend: Backend,
    sim_options: Mapping[str, Any] | None = None,
) -> Launch:
    """Runs checked arguments on the simulated NPU that `backend` describes.

    sim_options: further options of simulate_flash_attention, such as trace.
    """
    soc = backend.soc
    assert soc is not None, "a sim backend has a SoC"
    check_values(k, options, p)
    # Poisoned: what the kernel leaves unwritten shows up as NaN.
    out = torch.full(p.out_shape, torch.nan, dtype=q.dtype)
    lse = torch.full(p.lse_shape, torch.nan)
    p = with_longest(p, options)
    if p.b == 0 or p.tokens_q == 0 or p.s_kv == 0:  # no block to launch
        lse.copy_(torch.tensor(-torch.inf) if options.sinks is None else options.sinks[:, None])
        return Launch((out.zero_(), lse), SimReport(soc.name))
    start_s = time.perf_counter()
    call = make_call(q, k, v, out, lse, options, p, soc, backend.tiling)
    plan, constants = call.plan, call.constants
    settings: dict[str, Any] = {"threads": backend.threads or default_threads(), "checks": backend.checks}
    figures = core().simulate_flash_attention(
        soc.values(),
        plan["tiling_bytes"],
        plan["block_dim"],
        call.ranges((constants.ctypes.data, constants.nbytes)),
        plan["workspace_bytes"],
        settings | dict(sim_options or {}),
    )
    wall_s = time.perf_counter() - start_s
    warn_of(figures.get("warning_texts", ()))
    fill_behind_sequences(out, lse, options)
    return Launch((out, lse), SimReport(soc.name, plan, figures, wall_s))


def fill_behind_sequences(out: Tensor, lse: Tensor, options: Options) -> None:
    """Tokens behind the last packed sequence, which the kernel does not write: they belong to none."""
    if options.cu_seqlens_q is not None:
        end = int(options.cu_seqlens_q[-1])
        out[end:], lse[:, end:] = 0, -torch.inf


def plan_call(q: Tensor, k: Tensor, v: Tensor, options: Options, p: Problem, backend: Backend) -> dict[str, Any]:
    """op_host's plan of checked arguments; meta tensors do. Raises ArgumentError with every reason if there is none."""
    assert backend.soc is not None, "a sim backend has a SoC"
    views = as_views(q, k, v, q.new_empty(p.out_shape), p)
    return plan_or_refuse(problem_dict(with_longest(p, options), views, options)[0], backend.soc, backend.tiling)


def with_longest(p: Problem, options: Options) -> Problem:
    """The problem with the lengths of the longest packed sequences, where the caller did not name them."""
    if options.cu_seqlens_q is None or options.cu_seqlens_k is None or p.b == 0:
        return p
    s_q = int(options.cu_seqlens_q.diff().max()) if options.max_seqlen_q is None else p.s_q
    s_kv = int(options.cu_seqlens_k.diff().max()) if options.max_seqlen_k is None else p.s_kv
    return replace(p, s_q=max(s_q, 1), s_kv=s_kv)
