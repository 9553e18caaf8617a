"""Runs one shape on the simulated NPU and keeps its timeline: what `fastattn trace` and `fastattn report` stand on.

Times and counts are simulated. The result's correctness is `fastattn run`'s business; hazards are kept and marked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .arguments import check_arguments
from .backends import plan_shape, useful_flops
from .config import ShapeConfig, SocConfig
from .dispatch import Backend
from .errors import ConfigError, Reason
from .inputs import make_inputs
from .options import Options
from .sim.launch import launch_flash_attention
from .timeline import Timeline

DEFAULT_MAX_EVENTS = 400_000


@dataclass(frozen=True)
class Profile:
    """One simulated launch with its timeline. plan: op_host's answer; figures: the simulator's, less the timeline."""

    shape: ShapeConfig
    backend: Backend
    plan: Mapping[str, Any]
    figures: Mapping[str, Any]
    timeline: Timeline
    wall_s: float

    @property
    def soc(self) -> SocConfig:
        assert self.backend.soc is not None, "a sim backend has a SoC"
        return self.backend.soc

    def cycles_to_us(self, cycles: float) -> float:
        return cycles / self.soc["clock.mhz"]

    @property
    def useful_flops(self) -> float:
        return useful_flops(self.shape)


def profile(
    shape: ShapeConfig,
    backend: Backend,
    groups: Sequence[int] | None = None,
    max_events: int = DEFAULT_MAX_EVENTS,
    seed: int = 0,
) -> Profile:
    """Simulates the shape once.

    Arguments:
        backend: a sim backend. groups: core groups whose events are kept, None for all; sums are over all groups.
        max_events: the events that start first are kept; how many were left out stands in the timeline.
    Raises:
        ConfigError: there is no plan, nothing to launch, or a group that the launch does not have.
    """
    plan = plan_shape(shape, backend)
    blocks = plan["block_dim"]
    if groups is not None and not all(0 <= group < blocks for group in groups):
        limit = f"core groups of this launch, 0 to {blocks - 1}"
        raise ConfigError("no such core group", [Reason("groups", list(groups), limit, "name others, or leave it out")])
    arguments = make_inputs(shape, seed)
    q, k, v = (arguments.pop(name) for name in ("q", "k", "v"))
    options = Options(**arguments)
    problem = check_arguments(q, k, v, options, "sim")
    tracing = {"trace": True if groups is None else list(groups), "trace_events": max_events}
    done = launch_flash_attention(q, k, v, options, problem, backend, tracing)
    figures = dict(done.report.figures)
    timeline = Timeline(figures.pop("timeline"))
    return Profile(shape, backend, done.report.plan, figures, timeline, done.report.wall_s)
