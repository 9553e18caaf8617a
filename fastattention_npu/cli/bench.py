"""`fastattn bench NAME`: the benchmarks, one module each; a module is imported when its name is called."""

import argparse
import importlib
from typing import Any

# name -> module with add_arguments(parser), and its function that runs with the parsed arguments
BENCHMARKS = {
    "allreduce": ("fastattention_npu.bench.allreduce", "run"),
    "balance": ("fastattention_npu.bench.balance", "run"),
    "calibration": ("fastattention_npu.bench.calibration", "run"),
    "cooperative": ("fastattention_npu.cooperative.bench", "bench_cooperative"),
    "mask": ("fastattention_npu.bench.masks", "run"),
    "prefill": ("fastattention_npu.bench.prefill", "run"),
    "tiling": ("fastattention_npu.bench.tiling", "run"),
    "mutation": ("fastattention_npu.bench.mutation", "run"),
    "packing": ("fastattention_npu.bench.packing", "run"),
    "ports": ("fastattention_npu.bench.ports", "run"),
}


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    item = commands.add_parser("bench", help="run a benchmark", allow_abbrev=False)
    item.add_argument("name", choices=sorted(BENCHMARKS), help="which one; fastattn bench NAME --help has its options")
    item.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    item.set_defaults(function=command)


def command(options: argparse.Namespace) -> int:
    module_name, function = BENCHMARKS[options.name]
    module = importlib.import_module(module_name)
    parser = argparse.ArgumentParser(prog=f"fastattn bench {options.name}", description=module.__doc__)
    module.add_arguments(parser)
    return getattr(module, function)(parser.parse_args(options.rest))
