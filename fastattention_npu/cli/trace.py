"""`fastattn trace`: one simulated run as a timeline that Perfetto opens."""

import argparse
from pathlib import Path
from typing import Any

from ..config import load_shape
from ..dispatch import DEFAULT_SOC, make_backend
from ..errors import ConfigError
from ..profiling import DEFAULT_MAX_EVENTS, profile
from ..trace import write_trace
from . import allreduce
from .arguments import positive


def group_list(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} must be core groups, such as 0 or 0,1")
    return [int(part) for part in parts]


def add_target(item: argparse.ArgumentParser, output: str) -> None:
    """Arguments that trace and report share."""
    item.add_argument("shape", metavar="SHAPE.yaml", help="shape file, or the name of one in configs/shapes")
    item.add_argument("-o", "--output", metavar="FILE", default=output, help=f"file to write (default {output})")
    item.add_argument("--soc", default=DEFAULT_SOC, help=f"SoC file or name in configs/soc (default {DEFAULT_SOC})")
    item.add_argument(
        "--tiling", metavar="FILE", help="tiling file or name in configs/tiling; default: op_host chooses"
    )
    item.add_argument("--threads", type=positive, help="CPU threads of the simulator (default all); changes no bit")


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> argparse.ArgumentParser:
    item = subparsers.add_parser("trace", help="write a timeline for Perfetto (simulated)", allow_abbrev=False)
    add_target(item, "trace.json")
    item.add_argument("--groups", type=group_list, help="core groups to show, such as 0,1 (default all)")
    item.add_argument(
        "--events",
        type=positive,
        default=DEFAULT_MAX_EVENTS,
        help=f"most events to keep, the earliest first (default {DEFAULT_MAX_EVENTS})",
    )
    item.set_defaults(function=run)
    return item


def writable(name: str) -> Path:
    """The path to write to, checked before minutes are spent on a simulation."""
    path = Path(name)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ConfigError(f"cannot write {path}: give a file in a folder that exists")
    return path


def run(args: argparse.Namespace) -> int:
    """Exit status 0 unless the simulator found a hazard."""
    path = writable(args.output)
    backend = make_backend("sim", soc=args.soc, tiling=args.tiling, threads=args.threads)
    shape = load_shape(args.shape)
    if shape.allreduce is not None:
        return allreduce.trace(shape, backend, path, args.groups, args.events)
    result = profile(shape, backend, args.groups, args.events)
    count = write_trace(result, path)
    omitted = result.timeline.raw["omitted_events"]
    cycles, time_us = result.figures["cycles"], result.figures["time_us"]
    print(f"{path}: {count:,} events of {time_us:.1f} us ({cycles:,.0f} cycles), simulated; open it in ui.perfetto.dev")
    if omitted:
        until_us = result.cycles_to_us(result.timeline.raw["until_cycles"])
        print(f"{omitted:,} events after {until_us:.1f} us were left out: choose --groups, or raise --events")
    hazards = result.figures["hazards"]
    if hazards:
        print(f"{hazards} hazards, marked HAZARD; the first: {result.figures['hazard_texts'][0]}")
    return 1 if hazards else 0
