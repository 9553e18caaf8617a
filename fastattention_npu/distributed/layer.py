"""A shape file with `allreduce`: every rank's inputs, the reference, one run on simulated NPUs checked against float64,
and its timeline. What `fastattn run|plan|trace` and the fuzzer do with such a shape.

Figures are simulated; nothing here has run on silicon.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import reference
from .._native import core
from ..arguments import TORCH_DTYPES
from ..backends import finite
from ..config import ShapeConfig
from ..dispatch import Backend
from ..errors import ConfigError
from ..inputs import make_inputs
from ..profiling import Profile
from ..timeline import Timeline
from ..trace import write_ranks_trace
from .simulated import RankInputs, SimulatedRanks, plan_ranks, rank_problem, simulate_ranks

LINKS_PID = 2_000_000


@dataclass(frozen=True)
class LayerRun:
    """A checked run of all ranks: out against float64, the simulator's figures of ranks and links."""

    shape: ShapeConfig
    backend: Backend
    result: SimulatedRanks
    tensors: tuple[Tensor, Tensor, Tensor]  # (tokens, hidden): out, in float64, in the same precision
    out: reference.Comparison
    wall_s: float

    @property
    def ok(self) -> bool:
        return self.out.ok and not self.result.hazards

    def as_dict(self) -> dict[str, Any]:
        figures = {
            name: x for name, x in self.result.figures.items() if name not in ("reports", "timelines", "listing")
        }
        return finite(
            {
                "backend": "sim",
                "figures": "simulated",
                "soc": self.backend.soc.name if self.backend.soc else None,
                "shape": self.shape.as_dict(),
                "dtype": self.shape.dtype,
                **plan_row(self.result.plan),
                "max_abs_err": self.out.max_abs_err,
                "rel_err": self.out.rel_err,
                "ref_rel_err": self.out.ref_rel_err,
                "ok": self.ok,
                "reasons": list(self.out.reasons),
                "hazards": len(self.result.hazards),
                "hazard_texts": self.result.hazards,
                "wall_s": self.wall_s,
                **figures,
            }
        )


def plan_row(plan: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in plan.items() if key not in ("tiling_bytes", "mask", "block_problem")}


def run_layer(shape: ShapeConfig, backend: Backend, seed: int = 0, **options: Any) -> LayerRun:
    """All ranks on simulated NPUs; every rank's result must be the same, and within the accuracy rule."""
    if backend.name != "sim":
        raise ConfigError(f"{shape.source}: with allreduce this command runs on backend sim, not {backend.name}")
    arguments = [make_inputs(shape, seed + rank) for rank in range(_ranks(shape))]
    inputs, bias = draw_inputs(shape, arguments, seed)
    start = time.perf_counter()
    result = _simulate(shape, backend, inputs, bias, options)
    wall_s = time.perf_counter() - start
    out = result.outputs[0]
    for rank, other in enumerate(result.outputs[1:], 1):
        if not torch.equal(other, out):
            raise core().SimulatorError(f"ranks 0 and {rank} have different results")
    exact = _reference(arguments, inputs, bias, exact=True)
    same = _reference(arguments, inputs, bias, exact=False)
    tensors = (out.flatten(0, -2), exact, same)
    return LayerRun(shape, backend, result, tensors, reference.check(*tensors), wall_s)


def plan_layer(shape: ShapeConfig, backend: Backend) -> dict[str, Any]:
    """op_host's plan of rank 0: token blocks, tiles, modelled times."""
    inputs, bias = rank_inputs(shape, "meta")
    assert backend.soc is not None, "a sim backend has a SoC"
    call = call_of(shape) | {"soc": backend.soc, "tiling": backend.tiling}
    return dict(plan_ranks(inputs, bias, count=_ranks(shape), **call)[0])


def write_layer_trace(
    shape: ShapeConfig, backend: Backend, path: Path, groups: list[int] | None, max_events: int
) -> tuple[int, LayerRun]:
    """A process for each core group of each rank, and one for the links; returns how many events there are."""
    options: dict[str, Any] = {"trace": True if groups is None else list(groups), "trace_events": max_events}
    run = run_layer(shape, backend, **options)
    figures = run.result.figures
    profiles = [
        Profile(shape, backend, run.result.plan, report, Timeline(timeline), run.wall_s)
        for report, timeline in zip(figures["reports"], figures["timelines"], strict=True)
    ]
    header = {key: x for key, x in run.as_dict().items() if key not in ("hazard_texts", "reasons")}
    return write_ranks_trace(profiles, path, header, _link_events(figures)), run


def _link_events(figures: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    place = {"pid": LINKS_PID, "tid": 0}
    yield {"ph": "M", "name": "process_name", "pid": LINKS_PID, "args": {"name": "links between the ranks (simulated)"}}
    yield {"ph": "M", "name": "process_sort_index", "pid": LINKS_PID, "args": {"sort_index": -1}}
    yield {"ph": "M", "name": "thread_name", **place, "args": {"name": "AllReduce"}}
    for i, task in enumerate(figures["tasks"]):
        span = {"ts": task["start_us"], "dur": task["end_us"] - task["start_us"]}
        yield {"ph": "X", "name": f"block {i}", "cat": "links", **place, **span, "args": {"bytes": task["bytes"]}}


def _ranks(shape: ShapeConfig) -> int:
    assert shape.allreduce is not None, "a shape with allreduce"
    return shape.allreduce.ranks


def _simulate(
    shape: ShapeConfig, backend: Backend, inputs: list[RankInputs], bias: Tensor | None, options: dict[str, Any]
) -> SimulatedRanks:
    assert backend.soc is not None, "a sim backend has a SoC"
    settings = {"checks": backend.checks} | ({"threads": backend.threads} if backend.threads else {}) | options
    return simulate_ranks(inputs, bias, soc=backend.soc, tiling=backend.tiling, options=settings, **call_of(shape))


def call_of(shape: ShapeConfig) -> dict[str, Any]:
    """What simulate_ranks and plan_ranks take beside the tensors."""
    lengths = make_inputs(shape) if shape.seqlens_q is not None else {}
    call: dict[str, Any] = {"softmax_scale": shape.softmax_scale, "causal": shape.causal, "window": shape.window}
    names = ("cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q", "max_seqlen_k")
    return call | {name: lengths[name] for name in names if name in lengths}


def rank_inputs(shape: ShapeConfig, device: str = "cpu") -> tuple[list[RankInputs], Tensor | None]:
    """Rank 0's, which a plan and a timing look at."""
    return draw_inputs(shape, [make_inputs(shape, device=device)], 0)


def layer_problem(shape: ShapeConfig) -> dict[str, Any]:
    """One rank's attention in op_host's words."""
    call = {name: x for name, x in call_of(shape).items() if name != "cu_seqlens_k"}
    return rank_problem(rank_inputs(shape, "meta")[0][0], **call)


def draw_inputs(
    shape: ShapeConfig, arguments: list[dict[str, Any]], seed: int
) -> tuple[list[RankInputs], Tensor | None]:
    """Weights so that the sum over the ranks stays of size one."""
    assert shape.allreduce is not None, "a shape with allreduce"
    dtype, width = TORCH_DTYPES[shape.dtype], shape.h_q * shape.head_dim_v
    device = arguments[0]["q"].device
    generator = torch.Generator().manual_seed(seed)
    scale = 1 / math.sqrt(width * shape.allreduce.ranks)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator).to(dtype).to(device)

    inputs = [RankInputs(a["q"], a["k"], a["v"], draw(shape.allreduce.hidden, width) * scale) for a in arguments]
    return inputs, draw(shape.allreduce.hidden) if shape.allreduce.bias else None


def _reference(
    arguments: list[dict[str, Any]], inputs: list[RankInputs], bias: Tensor | None, *, exact: bool
) -> Tensor:
    """(tokens, hidden) in float64, or in the element type with every rank's part narrowed and added rank by rank."""
    attend = reference.attention_float64 if exact else reference.attention_same_precision
    total: Tensor | None = None
    for rank, (call, rank_inputs) in enumerate(zip(arguments, inputs, strict=True)):
        out, _ = attend(**call)
        weight = rank_inputs.w_o.to(out.dtype)
        part = out.reshape(-1, weight.size(1)) @ weight.T
        if bias is not None and rank == 0:
            part = part + bias.to(out.dtype)
        total = part if total is None else total + part
    assert total is not None, "at least one rank"
    return total
