"""run, plan and trace of a shape with `allreduce`: attention, projection and AllReduce on several simulated NPUs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..backends import finite
from ..config import ShapeConfig
from ..dispatch import Backend
from ..distributed.layer import LayerRun, plan_layer, plan_row, run_layer, write_layer_trace
from ..reference import ERROR_FACTOR, FLOOR
from .text import indent, table


def run(shape: ShapeConfig, backend: Backend, seed: int, as_json: bool) -> int:
    """Exit status 0 only if the result is right and the simulator found no hazard."""
    done = run_layer(shape, backend, seed)
    print(json.dumps(done.as_dict()) if as_json else _describe(done))
    return 0 if done.ok else 1


def plan(shape: ShapeConfig, backend: Backend, as_json: bool) -> int:
    row = plan_layer(shape, backend)
    assert backend.soc is not None, "a sim backend has a SoC"
    if as_json:
        head = {"soc": backend.soc.name, "figures": "modelled", "shape": shape.as_dict()}
        print(json.dumps(finite(head | plan_row(row))))
        return 0
    print(f"{_title(shape)}\nplan for {backend.soc.name}: {_blocks(row)}")
    print("modelled times (us; neither simulated nor measured)")
    print(indent(_times(row["model"], ("sequential_us", "pipelined_us", "compute_us", "link_us", "hidden_us"))))
    return 0


def trace(shape: ShapeConfig, backend: Backend, path: Path, groups: list[int] | None, events: int) -> int:
    """Exit status 0 only if the result is right and the simulator found no hazard."""
    count, done = write_layer_trace(shape, backend, path, groups, events)
    time_us = done.result.figures["time_us"]
    print(f"{path}: {count:,} events of {time_us:.1f} us, simulated; open it in ui.perfetto.dev")
    omitted = sum(timeline["omitted_events"] for timeline in done.result.figures["timelines"])
    if omitted:
        print(f"{omitted:,} later events were left out: choose --groups, or raise --events")
    print("\n".join(_hazard_lines(done)))
    return 0 if done.ok else 1


def _title(shape: ShapeConfig) -> str:
    from .run import shape_line

    return f"{shape_line(shape)}, of each rank"


def _blocks(row: Mapping[str, Any]) -> str:
    blocks = "+".join(map(str, row["blocks"]))
    tile = " x ".join(map(str, row["tile"]))
    return (
        f"token blocks {blocks}, {row['block_dim']} core groups, projection tiles {tile} (rows, columns, depth), "
        f"{row['tiles_per_step']} between two level-1 blocks; chosen by {row['chosen_by']}"
    )


def _times(figures: Mapping[str, Any], names: Sequence[str]) -> str:
    return table(("", "us"), [(name.removesuffix("_us"), round(figures[name], 1)) for name in names])


def _describe(done: LayerRun) -> str:
    figures, soc = done.result.figures, done.backend.soc
    assert soc is not None, "a sim backend has a SoC"
    tasks = [(f"block {i}", f"{t['start_us']:.1f}", f"{t['end_us']:.1f}") for i, t in enumerate(figures["tasks"])]
    lines = [
        _title(done.shape),
        f"backend     sim: {figures['ranks']} x {soc.name}, SIMULATED (no chip was involved)",
        f"plan        {_blocks(done.result.plan)}",
        "time        us simulated",
        indent(_times(figures, ("time_us", "compute_us", "link_us", "overlap_us")), 12),
        indent(table(("links", "start", "end"), tasks), 12),
        *_hazard_lines(done),
        _accuracy(done),
        *(f"FAILED      {reason}" for reason in done.out.reasons),
        f"host        {done.wall_s:.2f} s to simulate",
        f"result      {'ok' if done.ok else 'FAILED'}",
    ]
    return "\n".join(lines)


def _accuracy(done: LayerRun) -> str:
    return (
        f"accuracy    max abs error {done.out.max_abs_err:.2e} (fp64 reference; PyTorch in {done.shape.dtype} has "
        f"{done.out.ref_max_abs_err:.2e}); allowed {ERROR_FACTOR:g}x + {FLOOR:g}"
    )


def _hazard_lines(done: LayerRun) -> list[str]:
    if not done.backend.checks:
        return ["hazards     not looked for"]
    return [f"hazards     {len(done.result.hazards)}", *(f"            {text}" for text in done.result.hazards[:5])]
