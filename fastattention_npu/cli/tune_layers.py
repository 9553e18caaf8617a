"""`fastattn tune` of tensor-parallel layers: token blocks and projection tiles by simulation, for one shape file with
`allreduce` or, with --layers, for every layer whose blocks ship for a SoC.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from .. import tuning
from ..bench.allreduce import LAYERS, Layer
from ..config import SocConfig, load_soc, shape_from_dict
from ..default_tilings import layer_class, layer_folder
from ..dispatch import Backend
from ..distributed.block_tuning import Timed, TunedBlocks, layer_run, tune_blocks
from ..distributed.layer import layer_problem
from ..shape_config import ShapeConfig
from ..sim.launch import default_threads
from ..yaml_file import read_mapping
from .text import table
from .tiling_file import hand_over, write_tiling
from .tune_classes import bar, chosen_classes, is_made

SHOWN = 8
# Tokens: shorter layers hardly gain, of the longer ones not all do, and they take long to simulate a hundred times.
SHIPPED_LENGTHS = {
    "llama2-70b": (4096, 8192, 16384),
    "pangu-38b": (4096, 8192, 16384),
    "llama-7b": (4096, 8192),
}
SIZES = ("b", "s_q", "s_kv", "h_q", "h_kv", "d", "d_v", "dtype", "layout", "causal", "window", "seqlens_q", "allreduce")
HIDDEN = 0.9  # share of the shorter of computing and links, what the shipped blocks shall hide
GAIN = 1.002  # less is not worth a file


def tune_layer(shape: ShapeConfig, backend: Backend, options: argparse.Namespace) -> int:
    assert backend.soc is not None, "a sim backend has a SoC"
    tiling = backend.tiling
    fused = dict(tiling.fused) if tiling else {}
    run = layer_run(shape, backend.soc, tiling)
    tuned = tune_blocks(run, options.threads or default_threads(), bar("simulating token blocks"), fused)
    row = record(shape, backend.soc, tuned, tuned.best)
    fields = dict(tiling.fields if tiling else {}) | fields_of(tuned.best)
    return hand_over(options, row, fields, describe(row, tuned))


def command(options: argparse.Namespace) -> int:
    """--layers: one layer after the other, a file as soon as it is done; one without fields leaves op_host's blocks."""
    soc = load_soc(options.soc)
    folder = options.output or layer_folder(soc.name)
    todo = chosen_classes(options.classes, shipped_layers())
    commit = tuning.commit_of_checkout()
    for number, (name, shape) in enumerate(todo.items(), 1):
        path, what = folder / f"{name}.yaml", f"{number}/{len(todo)} {name}"
        if not options.again and is_made(path, commit):
            print(f"{what}: stands already, made with {commit}: {gain_text(read_mapping(path)['tuned'])}", flush=True)
            continue
        tuned = tune_blocks(layer_run(shape, soc, None), options.threads or default_threads(), bar(what))
        choice = to_ship(tuned)
        row = record(shape, soc, tuned, choice)
        gains = tuned.start.time_us / choice.time_us >= GAIN
        write_tiling(path, row, fields_of(choice) if gains else {})
        print(f"{what}: {gain_text(row)}", flush=True)
    return 0


def shipped_layers() -> dict[str, ShapeConfig]:
    """The layers of `fastattn bench allreduce` whose token blocks ship, by their class."""
    shapes = [shape_of(LAYERS[name], tokens) for name, lengths in SHIPPED_LENGTHS.items() for tokens in lengths]
    return {class_of(shape): shape for shape in shapes}


def shape_of(layer: Layer, tokens: int) -> ShapeConfig:
    """One rank's causal attention over one sequence, and what follows."""
    heads, kv_heads = layer.heads // layer.ranks, layer.kv_heads // layer.ranks
    sizes = {"b": 1, "s_q": tokens, "s_kv": tokens, "h_q": heads, "h_kv": kv_heads, "d": layer.head_dim, "causal": True}
    return shape_from_dict(sizes | {"allreduce": {"ranks": layer.ranks, "hidden": layer.hidden}}, "a layer")


def class_of(shape: ShapeConfig) -> str:
    """The class, or a word for what belongs to none."""
    assert shape.allreduce is not None, "a shape with allreduce"
    layer = shape.allreduce
    return layer_class(layer_problem(shape), layer.hidden, layer.ranks, layer.bias) or "none"


def fields_of(choice: Timed) -> dict[str, Any]:
    return {"token_blocks": list(choice.blocks), "tiles_per_step": choice.tiles_per_step}


def to_ship(tuned: TunedBlocks) -> Timed:
    """The fastest choice that hides HIDDEN and gains on op_host's; where there is none the fastest of all."""
    hiding = (one for one in tuned.simulated if one.hidden >= HIDDEN and tuned.start.time_us / one.time_us >= GAIN)
    return next(hiding, tuned.best)


def record(shape: ShapeConfig, soc: SocConfig, tuned: TunedBlocks, best: Timed) -> dict[str, Any]:
    """What a tiling file says about its origin. Of one rank that stands for all; _before: with op_host's own choice."""
    start = tuned.start
    return {
        "layer_class": class_of(shape),
        "soc": soc.name,
        "shape": {name: x for name, x in shape.as_dict().items() if name in SIZES},
        "sequential_us": round(tuned.sequential.time_us, 1),
        "simulated_us": round(best.time_us, 1),
        "simulated_us_fastest": round(tuned.best.time_us, 1),
        "simulated_us_before": round(start.time_us, 1),
        "hidden": round(best.hidden, 4),
        "hidden_before": round(start.hidden, 4),
        "simulated_choices": len(tuned.simulated),
        "commit": tuning.commit_of_checkout(),
    }


def gain_text(row: Mapping[str, Any]) -> str:
    now, before, sequential = (row[key] for key in ("simulated_us", "simulated_us_before", "sequential_us"))
    return (
        f"{now:.0f} us, {sequential / now:.3f}x the sequential form, {row['hidden']:.1%} hidden; with op_host's own "
        f"blocks {before:.0f} us, {sequential / before:.3f}x, {row['hidden_before']:.1%} (simulated, "
        f"{row['simulated_choices']} choices)"
    )


def describe(row: Mapping[str, Any], tuned: TunedBlocks) -> str:
    lines = [
        ("+".join(map(str, one.blocks)), one.tiles_per_step, f"{one.time_us:.1f}", f"{one.hidden:.1%}")
        for one in tuned.simulated[:SHOWN]
    ]
    head = f"layer {row['layer_class']} on {row['soc']}, the best of one rank that stands for all:"
    return "\n".join([head, table(("token blocks", "tiles a step", "us", "hidden"), lines), gain_text(row)])
