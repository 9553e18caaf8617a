"""Runs one shape on one backend and checks it against float64: what `fastattn run` and the benchmarks stand on."""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import ops, reference  # noqa: F401  (ops defines torch.ops.fastattn)
from .arguments import check_arguments
from .config import ShapeConfig
from .dispatch import Backend
from .errors import ArgumentError, ConfigError, Reason
from .inputs import make_inputs
from .kernel_call import as_views, problem_dict
from .options import Options

Outcome = tuple[Tensor, Tensor, float, dict[str, Any], Mapping[str, Any]]  # O, lse, seconds, figures, plan

MEMORY_SHARE = 0.8  # of this machine's memory that operands and outputs may take

# Figures of the simulator's report that a run hands on under the same name.
SIM_FIGURES = ("cycles", "time_us", "bottleneck", "pipe_busy", "gm_bytes_read", "gm_bytes_written", "l2_hit_bytes")


@dataclass(frozen=True)
class RunResult:
    """A checked run. figures: the backend's own, simulated for sim, measured otherwise; wall_s: the operator itself."""

    shape: ShapeConfig
    backend: Backend
    out: reference.Comparison
    lse: reference.Comparison
    wall_s: float
    figures: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.out.ok and self.lse.ok

    @property
    def simulated(self) -> bool:
        """Whether times are simulated: on sim, and on an NPU that is one."""
        return self.backend.name == "sim" or self.figures.get("runner", "npu") != "npu"

    @property
    def hazards(self) -> int:
        return int(self.figures.get("hazards", 0))

    def as_dict(self) -> dict[str, Any]:
        """The object that `fastattn run --json` prints; numbers that are not finite become None."""
        row: dict[str, Any] = {
            "backend": self.backend.name,
            "figures": "simulated" if self.simulated else "measured",
            "soc": self.backend.soc.name if self.backend.soc else None,
            "shape": self.shape.as_dict(),
            "dtype": self.shape.dtype,
            "tiling": self.plan.get("tiling"),
            "chosen_by": self.plan.get("chosen_by"),
            "max_abs_err": self.out.max_abs_err,
            "rel_err": self.out.rel_err,
            "ref_rel_err": self.out.ref_rel_err,
            "ref_max_abs_err": self.out.ref_max_abs_err,
            "lse_max_abs_err": self.lse.max_abs_err,
            "ok": self.ok,
            "reasons": [f"out: {x}" for x in self.out.reasons] + [f"lse: {x}" for x in self.lse.reasons],
            "wall_s": self.wall_s,
        }
        return finite(row | dict(self.figures))


def finite(value: Any) -> Any:
    """The value with NaN and inf as None, which JSON does not have, and sequences as lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(x) for key, x in value.items()}
    return [finite(x) for x in value] if isinstance(value, (list, tuple)) else value


def useful_flops(shape: ShapeConfig) -> float:
    """Multiplications and additions of Q Kᵀ and P V over the (query, key) pairs that windows and lengths leave."""
    left, right = shape.window
    right = 0 if shape.causal else right
    pairs = 0.0
    for queries, keys in shape.sequences():
        diagonal = np.arange(queries, dtype=np.int64) + (keys - queries)
        begin = np.zeros_like(diagonal) if left < 0 else np.clip(diagonal - left, 0, keys)
        end = np.full_like(diagonal, keys) if right < 0 else np.clip(diagonal + right + 1, 0, keys)
        pairs += float(np.maximum(end - begin, 0).sum())
    return 2.0 * (shape.d + shape.head_dim_v) * shape.h_q * pairs


def plan_problem(shape: ShapeConfig) -> dict[str, Any]:
    """The problem of a shape in op_host's words."""
    arguments = make_inputs(shape, device="meta")
    q, k, v = (arguments.pop(name) for name in ("q", "k", "v"))
    options = Options(**arguments)
    p = check_arguments(q, k, v, options, "sim")
    return problem_dict(p, as_views(q, k, v, q.new_empty(p.out_shape), p), options)[0]


def plan_shape(shape: ShapeConfig, backend: Backend) -> dict[str, Any]:
    """op_host's plan for a shape on a sim backend's SoC; raises ConfigError with every reason if there is none."""
    from .sim.launch import plan_call

    if shape.allreduce is not None:
        limit = "absent here: fastattn run, plan and trace take it, on sim"
        raise ConfigError(shape.source, [Reason("allreduce", shape.allreduce, limit, "remove the key")])
    files = f"{shape.source} with {backend.tiling.source}" if backend.tiling else shape.source
    arguments = make_inputs(shape, device="meta")
    q, k, v = (arguments.pop(name) for name in ("q", "k", "v"))
    options = Options(**arguments)
    try:
        return plan_call(q, k, v, options, check_arguments(q, k, v, options, "sim"), backend)
    except ArgumentError as error:
        raise ConfigError(f"{files}: {error}") from error


def run(shape: ShapeConfig, backend: Backend, seed: int = 0) -> RunResult:
    """Builds the inputs, runs the operator once and compares O and lse with float64."""
    _check_memory(shape)
    if backend.name == "sim" or shape.allreduce is not None:
        plan_shape(shape, backend)  # a problem that the kernel refuses is refused before memory is filled
    arguments = make_inputs(shape, seed)
    runners = {"sim": _run_sim, "cpu": _run_cpu, "cuda": _run_cuda, "npu": _run_npu}
    out, lse, wall_s, figures, plan = runners[backend.name](arguments, backend)
    figures = _with_rates(shape, backend, figures, plan, wall_s)
    ref_out, ref_lse = reference.attention_float64(**arguments)
    same_out, same_lse = reference.attention_same_precision(**arguments)
    return RunResult(
        shape,
        backend,
        reference.check(out, ref_out, same_out),
        reference.check(lse, ref_lse, same_lse),
        wall_s,
        figures,
        plan,
    )


def _run_cpu(arguments: dict[str, Any], backend: Backend) -> Outcome:
    start_s = time.perf_counter()
    out, lse = torch.ops.fastattn.flash_attention(**arguments)
    return out, lse, time.perf_counter() - start_s, {}, {}


def _run_cuda(arguments: dict[str, Any], backend: Backend) -> Outcome:
    on_card = {name: x.cuda() if isinstance(x, Tensor) else x for name, x in arguments.items()}
    torch.ops.fastattn.flash_attention(**on_card)  # the first call compiles
    torch.cuda.synchronize()
    start_s = time.perf_counter()
    out, lse = torch.ops.fastattn.flash_attention(**on_card)
    torch.cuda.synchronize()
    return out.cpu(), lse.cpu(), time.perf_counter() - start_s, {}, {}


def _run_npu(arguments: dict[str, Any], backend: Backend) -> Outcome:
    from .npu.timing import run_timed

    start_s = time.perf_counter()
    timed = run_timed(arguments, backend)
    figures = {name: getattr(timed, name) for name in ("time_us", "launches", "device", "runner")}
    return timed.out, timed.lse, time.perf_counter() - start_s, figures, {}


def _run_sim(arguments: dict[str, Any], backend: Backend) -> Outcome:
    from . import sim

    assert backend.soc is not None, "a sim backend has a SoC"
    out, lse, report = sim.flash_attention(
        **arguments,
        soc=backend.soc,
        tiling=backend.tiling,
        threads=backend.threads,
        checks=backend.checks,
        return_report=True,
    )
    figures = {key: report.figures[key] for key in SIM_FIGURES}
    # Every other figure follows, so that a new one needs no change here.
    return out, lse, report.wall_s, figures | dict(report.figures), report.plan


def _with_rates(
    shape: ShapeConfig, backend: Backend, figures: dict[str, Any], plan: Mapping[str, Any], wall_s: float
) -> dict[str, Any]:
    """Adds what follows from time and arithmetic: tflops, and for sim cube_utilisation, limit_cycles, efficiency."""
    flops = useful_flops(shape)
    if backend.name != "sim" or backend.soc is None:
        return figures | {"tflops": flops / figures.get("time_us", wall_s * 1e6) / 1e6}
    tflops = flops / max(figures["time_us"], 1e-9) / 1e6
    peak_tflops = backend.soc["cores.aic"] * 2 * 16**3 * backend.soc["clock.mhz"] / 1e6
    limit_cycles = plan["model"]["limit_cycles"]
    return figures | {
        "tflops": tflops,
        "peak_tflops": peak_tflops,
        "cube_utilisation": figures.get("cube_utilisation", tflops / peak_tflops),
        "limit_cycles": limit_cycles,
        "efficiency": limit_cycles / max(figures["cycles"], 1),
    }


def _check_memory(shape: ShapeConfig) -> None:
    """Refuses operands that cannot fit this machine, before torch tries."""
    d = max(shape.d, shape.head_dim_v)
    q_elems = shape.b * shape.s_q * shape.h_q * d
    kv_elems = shape.b * shape.s_kv * shape.h_kv * d
    # Inputs are drawn in fp32 and then rounded; two references of O, one of them float64.
    needed_bytes = 4 * max(q_elems, kv_elems) + 2 * (2 * q_elems + 2 * kv_elems) + 10 * q_elems
    have_bytes = MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed_bytes > have_bytes:
        limit = f"at most {have_bytes / 2**30:.1f} GiB ({MEMORY_SHARE:.0%} of this machine's memory)"
        remedy = "lower b, the heads or the sequence lengths"
        reason = Reason("inputs, outputs and references", f"{needed_bytes / 2**30:.1f} GiB", limit, remedy)
        raise ConfigError(f"{shape.source}: does not fit this machine", [reason])
