"""`fastattn tune`: searches a tiling for a shape, modelled cost first, then simulation, and writes a tiling file.

A shape with `allreduce`, and --layers, are tune_layers.py's.
"""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from .. import tuning
from ..backends import plan_shape
from ..bench.progress import progress
from ..config import ShapeConfig, load_shape
from ..default_tilings import shape_class
from ..dispatch import DEFAULT_SOC, make_backend
from ..errors import ConfigError, Reason
from ..sim.launch import default_threads
from . import tune_classes, tune_layers
from .text import table
from .tiling_file import hand_over

SHOWN = 8


def add_parser(commands: "argparse._SubParsersAction[Any]", positive: Any) -> None:
    item = commands.add_parser("tune", help="search the fastest tiling of a shape by simulation", allow_abbrev=False)
    item.add_argument("shape", nargs="?", metavar="SHAPE.yaml", help="shape file, or the name of one in configs/shapes")
    item.add_argument(
        "-o", "--output", metavar="TILING.yaml", type=Path, help="tiling file to write; with --all a folder"
    )
    item.add_argument("--all", action="store_true", help="instead of a shape: the tiling of every class, as shipped")
    item.add_argument(
        "--layers", action="store_true", help="instead of a shape: the token blocks of every tensor-parallel layer"
    )
    item.add_argument(
        "--classes", nargs="+", default=["*"], metavar="CLASS", help="with --all or --layers: these only; * allowed"
    )
    item.add_argument("--like", metavar="SOC", help="with --all: judge the tilings that ship for SOC, search nothing")
    item.add_argument("--again", action="store_true", help="also what was made with this commit already")
    item.add_argument("--tiling", metavar="FILE", help="tiling file or name: its fields stay, the others are searched")
    item.add_argument("--soc", default=DEFAULT_SOC, help=f"SoC file or name in configs/soc (default {DEFAULT_SOC})")
    item.add_argument("--threads", type=positive, help="simulations at a time (default all CPUs); changes no result")
    item.add_argument("--json", action="store_true", help="one JSON object on standard output")
    item.set_defaults(function=command)


def command(options: argparse.Namespace) -> int:
    check_options(options)
    if options.layers:
        return tune_layers.command(options)
    return tune_classes.command(options) if options.all else tune_shape(options)


def check_options(options: argparse.Namespace) -> None:
    reasons = []
    if options.all and options.layers:
        reasons.append(Reason("--layers", True, "left out with --all", "make one after the other"))
    many = "--all" if options.all else "--layers" if options.layers else None
    if many and options.shape is not None:
        reasons.append(Reason("SHAPE.yaml", options.shape, f"left out with {many}", "remove one of them"))
    if many and options.json:
        reasons.append(Reason("--json", True, f"left out with {many}", "read the files that it writes"))
    if many and options.tiling is not None:
        reasons.append(Reason("--tiling", options.tiling, f"left out with {many}", "tune a shape"))
    if not many and options.shape is None:
        reasons.append(Reason("SHAPE.yaml", "missing", "a shape file", "name one, or give --all or --layers"))
    if not many and options.output is None:
        reasons.append(Reason("--output", "missing", "a file to write", "add -o TILING.yaml"))
    if not many and (options.again or options.classes != ["*"]):
        reasons.append(
            Reason("--again, --classes", "given", "used with --all or --layers only", "add one or remove them")
        )
    if options.like and not options.all:
        reasons.append(Reason("--like", options.like, "used with --all only", "add --all or remove it"))
    if reasons:
        raise ConfigError("fastattn tune cannot be used like this", reasons)


def tune_shape(options: argparse.Namespace) -> int:
    shape = load_shape(options.shape)
    backend = make_backend("sim", soc=options.soc, tiling=options.tiling)
    assert backend.soc is not None, "a sim backend has a SoC"
    if shape.allreduce is not None:
        return tune_layers.tune_layer(shape, backend, options)
    plan_shape(shape, backend)  # what cannot be planned is refused with the file's name
    problem = timed_problem(shape)
    fixed = dict(backend.tiling.fields) if backend.tiling else {}
    tuned = tuning.tune(
        problem,
        backend.soc.values(),
        workers=options.threads or default_threads(),
        follow=lambda items, total: progress(items, total, "simulating tilings"),
        fixed=fixed,
    )
    row = record(problem, backend.soc.name, tuned)
    tiling = dict(tuned.best.fields) | fixed
    return hand_over(options, row, tiling, describe(row, tuned))


# What the kernel reads while it runs, beyond Q, K and V: timing has no operands.
READ_BY_THE_KERNEL = ("alibi", "sinks", "mask", "seqused_k", "seqlens_q", "seqlens_k", "page_size")


def timed_problem(shape: ShapeConfig) -> dict[str, Any]:
    """The problem in op_host's words; ConfigError with every reason if it cannot be timed without operands."""
    plain = {field.name: field.default for field in fields(ShapeConfig)}
    reasons = [
        Reason(key, getattr(shape, key), f"{plain[key]}: tilings are timed without operands", "remove this key")
        for key in READ_BY_THE_KERNEL
        if getattr(shape, key) != plain[key]
    ]
    if reasons:
        raise ConfigError(f"{shape.source}: cannot be tuned", reasons)
    keys = ("b", "s_q", "s_kv", "h_q", "h_kv", "d", "d_v", "dtype", "layout", "causal", "softcap", "softmax_scale")
    problem = {key: getattr(shape, key) for key in keys if getattr(shape, key) is not None}
    return problem | dict(zip(("window_left", "window_right"), shape.window, strict=True))


def record(problem: dict[str, Any], soc: str, tuned: tuning.Tuned) -> dict[str, Any]:
    """What a tiling file says about its origin."""
    return {
        "shape_class": shape_class(problem),
        "soc": soc,
        "shape": problem,
        "modelled_cycles": round(tuned.best.modelled),
        "simulated_cycles": round(tuned.best.simulated),
        "simulated_cycles_before": round(tuned.start.simulated),
        "simulated_tilings": len(tuned.simulated),
        "commit": tuning.commit_of_checkout(),
    }


def describe(row: dict[str, Any], tuned: tuning.Tuned) -> str:
    lines = [[*c.fields.values(), c.modelled, c.simulated] for c in tuned.simulated[:SHOWN]]
    header = [*tuned.best.fields, "modelled", "simulated"]
    gain = tuned.start.simulated / tuned.best.simulated
    return "\n".join(
        [
            f"class {row['shape_class']} on {row['soc']}: {len(tuned.simulated)} tilings simulated, the best:",
            table(header, lines),
            f"{gain:.3f} times as fast as op_host's choice without tuning (simulated)",
        ]
    )
