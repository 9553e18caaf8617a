"""`fastattn report`: one self-contained HTML page about a simulated run."""

import argparse
from typing import Any

from ..config import load_shape
from ..dispatch import make_backend
from ..profiling import profile
from ..report import write_report
from .arguments import positive
from .trace import add_target, writable

MAX_EVENTS = 80_000  # of the one core group shown: a page of a few MB


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> argparse.ArgumentParser:
    item = subparsers.add_parser("report", help="write an HTML page about a run (simulated)", allow_abbrev=False)
    add_target(item, "report.html")
    item.add_argument("--group", type=int, default=0, help="core group whose timeline is shown (default 0)")
    item.add_argument("--events", type=positive, default=MAX_EVENTS, help=f"most events to show (default {MAX_EVENTS})")
    item.set_defaults(function=run)
    return item


def run(args: argparse.Namespace) -> int:
    """Exit status 0 unless the simulator found a hazard."""
    path = writable(args.output)
    backend = make_backend("sim", soc=args.soc, tiling=args.tiling, threads=args.threads)
    result = profile(load_shape(args.shape), backend, [args.group], args.events)
    data = write_report(result, path)
    summary = data["summary"]
    print(
        f"{path}: {summary['time_us']:.1f} us, {summary['tflops']:.1f} TFLOPS, {summary['hazards']} hazards, "
        f"simulated; first: {data['advice'][0]['title']}"
    )
    return 1 if summary["hazards"] else 0
