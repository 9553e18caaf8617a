"""Runs one shape on one backend and checks it against float64: what `fastattn run` and the benchmarks stand on."""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from . import layouts, ops, reference  # noqa: F401  (ops defines torch.ops.fastattn)
from .arguments import TORCH_DTYPES
from .config import ShapeConfig
from .dispatch import Backend
from .errors import ConfigError, Reason

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
    def hazards(self) -> int:
        return int(self.figures.get("hazards", 0))

    def as_dict(self) -> dict[str, Any]:
        """The object that `fastattn run --json` prints; numbers that are not finite become None."""
        row: dict[str, Any] = {
            "backend": self.backend.name,
            "figures": "simulated" if self.backend.name == "sim" else "measured",
            "soc": self.backend.soc.name if self.backend.soc else None,
            "shape": self.shape.as_dict(),
            "dtype": self.shape.dtype,
            "tiling": self.plan.get("tiling"),
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


def make_inputs(shape: ShapeConfig, seed: int = 0) -> dict[str, Any]:
    """q, k, v from a standard normal distribution, and the operator's other arguments."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {"q": (shape.s_q, shape.h_q), "k": (shape.s_kv, shape.h_kv), "v": (shape.s_kv, shape.h_kv)}
    arguments: dict[str, Any] = {
        name: torch.randn(layouts.shape_of(shape.layout, shape.b, s, h, shape.d), generator=generator).to(
            TORCH_DTYPES[shape.dtype]
        )
        for name, (s, h) in sizes.items()
    }
    counts = shape.seqused_k
    return arguments | {
        "softmax_scale": shape.softmax_scale,
        "causal": shape.causal,
        "seqused_k": None if counts is None else torch.tensor(counts, dtype=torch.int32),
        "layout": shape.layout,
        "head_dim": shape.d if shape.layout == "bsh" else None,
    }


def useful_flops(shape: ShapeConfig) -> float:
    """Multiplications and additions of Q Kᵀ and P V over the (query, key) pairs that the mask leaves."""
    pairs = 0.0
    for n in shape.seqused_k or [shape.s_kv] * shape.b:
        if shape.causal:
            seeing = min(shape.s_q, n)  # rows that see a key; the first of them sees 1 + max(n - s_q, 0)
            pairs += seeing * max(n - shape.s_q, 0) + seeing * (seeing + 1) / 2
        else:
            pairs += shape.s_q * n
    return 4.0 * shape.d * shape.h_q * pairs


def plan_problem(shape: ShapeConfig) -> dict[str, Any]:
    """The problem in op_host's words."""
    keys = ("b", "s_q", "s_kv", "h_q", "h_kv", "d", "dtype", "layout", "causal", "softmax_scale")
    return {key: getattr(shape, key) for key in keys} | {"has_seq_used_kv": shape.seqused_k is not None}


def plan_shape(shape: ShapeConfig, backend: Backend) -> dict[str, Any]:
    """op_host's plan for a shape on a sim backend's SoC; raises ConfigError with every reason if there is none."""
    from .sim import plan_problem as plan

    assert backend.soc is not None, "a sim backend has a SoC"
    try:
        return plan(plan_problem(shape), backend.soc, backend.tiling)
    except ValueError as error:
        files = f"{shape.source} with {backend.tiling.source}" if backend.tiling else shape.source
        raise ConfigError(f"{files}: {error}") from error


def run(shape: ShapeConfig, backend: Backend, seed: int = 0) -> RunResult:
    """Builds the inputs, runs the operator once and compares O and lse with float64."""
    _check_memory(shape)
    if backend.name == "sim":
        plan_shape(shape, backend)  # a problem that the kernel refuses is refused before memory is filled
    arguments = make_inputs(shape, seed)
    out, lse, wall_s, figures, plan = _run_sim(arguments, backend) if backend.name == "sim" else _run_cpu(arguments)
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


def _run_cpu(arguments: dict[str, Any]) -> tuple[Tensor, Tensor, float, dict[str, Any], Mapping[str, Any]]:
    start_s = time.perf_counter()
    out, lse = torch.ops.fastattn.flash_attention(**arguments)
    return out, lse, time.perf_counter() - start_s, {}, {}


def _run_sim(
    arguments: dict[str, Any], backend: Backend
) -> tuple[Tensor, Tensor, float, dict[str, Any], Mapping[str, Any]]:
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
        return figures | {"tflops": flops / wall_s / 1e12}
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
    q_elems = shape.b * shape.s_q * shape.h_q * shape.d
    kv_elems = shape.b * shape.s_kv * shape.h_kv * shape.d
    # Inputs are drawn in fp32 and then rounded; two references of O, one of them float64.
    needed_bytes = 4 * max(q_elems, kv_elems) + 2 * (2 * q_elems + 2 * kv_elems) + 10 * q_elems
    have_bytes = MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed_bytes > have_bytes:
        limit = f"at most {have_bytes / 2**30:.1f} GiB ({MEMORY_SHARE:.0%} of this machine's memory)"
        remedy = "lower b, the heads or the sequence lengths"
        reason = Reason("inputs, outputs and references", f"{needed_bytes / 2**30:.1f} GiB", limit, remedy)
        raise ConfigError(f"{shape.source}: does not fit this machine", [reason])
