"""`fastattn plan`: the tiling that op_host chooses for a shape, its buffer maps and its modelled cost. Runs nothing."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from ..backends import finite, plan_shape
from ..config import ShapeConfig, SocConfig, load_shape
from ..dispatch import make_backend
from . import allreduce
from .run import shape_line
from .text import byte_text, indent, table


def command(options: argparse.Namespace) -> int:
    shape = load_shape(options.shape)
    backend = make_backend("sim", soc=options.soc, tiling=options.tiling)
    assert backend.soc is not None, "a sim backend has a SoC"
    if shape.allreduce is not None:
        return allreduce.plan(shape, backend, options.json)
    plan = plan_shape(shape, backend)
    if options.json:
        row = {"soc": backend.soc.name, "figures": "modelled", "shape": shape.as_dict()}
        row |= {key: value for key, value in plan.items() if key != "tiling_bytes"}
        print(json.dumps(finite(row)))
    else:
        print(describe(shape, backend.soc, plan))
    return 0


def describe(shape: ShapeConfig, soc: SocConfig, plan: Mapping[str, Any]) -> str:
    model, tiling = plan["model"], plan["tiling"]
    cost = f"{model['cycles']:,.0f} cycles, {model['cycles'] / soc['clock.mhz']:.1f} us"
    limit = f"limit {model['limit_cycles']:,.0f} cycles, bottleneck {model['bottleneck']}"
    scalars = {key: value for key, value in tiling.items() if not isinstance(value, (list, tuple))}
    return "\n".join(
        [
            shape_line(shape),
            f"plan for {soc.name}: {plan['block_dim']} core groups, workspace {byte_text(plan['workspace_bytes'])}",
            f"chosen by {plan['chosen_by']}",
            "",
            "tiling",
            indent(_columns(scalars)),
            "",
            "buffers (bytes)",
            indent(_buffer_table(plan["buffers"])),
            "",
            f"modelled cost: {cost}; {limit} (modelled: neither simulated nor measured)",
            indent(_model_table(model)),
        ]
    )


def _columns(values: Mapping[str, Any], across: int = 3) -> str:
    """name value pairs, `across` to a line."""
    pairs = [(name, f"{value:g}" if isinstance(value, float) else str(value)) for name, value in values.items()]
    pairs += [("", "")] * (-len(pairs) % across)
    lines = [[x for pair in pairs[i : i + across] for x in pair] for i in range(0, len(pairs), across)]
    widths = [max(len(line[i]) for line in lines) for i in range(2 * across)]
    return "\n".join(
        "   ".join(
            f"{line[2 * j]:<{widths[2 * j]}} {line[2 * j + 1]:>{widths[2 * j + 1]}}" for j in range(across)
        ).rstrip()
        for line in lines
    )


def _buffer_table(buffers: list[Mapping[str, Any]]) -> str:
    keys = ("memory", "name", "offset_bytes", "slot_bytes", "slots", "end_bytes", "limit_bytes")
    header = ("memory", "buffer", "offset", "slot", "slots", "end", "limit", "full")
    rows = [(*(row[key] for key in keys), f"{row['end_bytes'] / max(row['limit_bytes'], 1):4.0%}") for row in buffers]
    return table(header, rows)


def _model_table(model: Mapping[str, Any]) -> str:
    """One row for each term: of this plan (of the busiest core group, for pipes), and of the limit."""
    pipes, limits = model.get("pipe_cycles", {}), model.get("limit_pipe_cycles", {})
    others = {
        key.removesuffix("_cycles"): value
        for key, value in model.items()
        if key.endswith("_cycles") and key != "limit_cycles" and not isinstance(value, Mapping)
    }
    terms = {**pipes, **others}
    rows = [(name, terms.get(name), limits.get(name)) for name in {**terms, **limits}]
    return table(("term", "plan, cycles", "limit, cycles"), rows)
