"""`fastattn selftest`: a fixed list of problems on one backend, each checked against float64, then timings.

On an NPU the timings stand beside the simulated ones of the same shapes, so that one command on a card says how far the
simulator is off. The list is configs/selftest.yaml.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..backends import RunResult, run
from ..config import ShapeConfig, load_shape, shape_from_dict
from ..dispatch import Backend, make_backend
from ..errors import ConfigError
from ..limits import BACKENDS
from ..yaml_file import config_root, read_mapping
from .selftest_append import AppendCase, run_append
from .text import table

ERRORS = ("max_abs_err", "ref_max_abs_err", "lse_max_abs_err")


@dataclass(frozen=True)
class Cases:
    correctness: tuple[ShapeConfig, ...]
    append: tuple[AppendCase, ...]
    timing: tuple[ShapeConfig, ...]
    timing_on_a_card: tuple[ShapeConfig, ...]


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    item = commands.add_parser("selftest", help="check a backend on a fixed list, then time it", allow_abbrev=False)
    item.add_argument("--backend", choices=[x for x in BACKENDS if x != "cuda"], default="sim", help="default sim")
    item.add_argument("--soc", help="SoC file or name in configs/soc (default ascend910b2, on an NPU the card's own)")
    item.add_argument("--json", action="store_true", help="one JSON object on standard output")
    item.set_defaults(function=command)


def command(options: argparse.Namespace) -> int:
    """Exit status 0 only if every result is right and no launch raced."""
    report = selftest(make_backend(options.backend, soc=options.soc))
    print(json.dumps(report) if options.json else describe(report))
    return 0 if report["ok"] else 1


def load_cases() -> Cases:
    path = config_root() / "selftest.yaml"
    values = read_mapping(path)
    known = ("correctness", "append", "timing", "timing_on_a_card")
    if set(values) != set(known):
        raise ConfigError(f"{path}: has the keys {', '.join(values)}; must have {', '.join(known)}")
    small = [shape_from_dict(shape, f"{name}.yaml") for name, shape in values["correctness"].items()]
    append = [AppendCase.from_dict(name, row) for name, row in values["append"].items()]
    return Cases(tuple(small), tuple(append), *(tuple(load_shape(name) for name in values[key]) for key in known[2:]))


def selftest(backend: Backend, cases: Cases | None = None) -> dict[str, Any]:
    """Runs the list: {backend, device, figures, ok, correctness: [...], append: [...], timings: [...]}."""
    cases = cases or load_cases()
    checked = [run(shape, backend) for shape in cases.correctness]
    appended = [run_append(case, backend) for case in cases.append]
    shapes = cases.timing if checked[0].simulated or backend.name == "cpu" else cases.timing + cases.timing_on_a_card
    timed = [run(shape, backend) for shape in shapes]
    results = checked + timed
    device = checked[0].figures.get("device") or (backend.soc.name if backend.soc else "host CPU")
    return {
        "backend": backend.name,
        "device": device,
        "figures": results[0].as_dict()["figures"],
        "ok": all(x.ok and x.hazards == 0 for x in results) and all(row["ok"] for row in appended),
        "correctness": [_correctness_row(x) for x in checked],
        "append": appended,
        "timings": [_timing_row(x, backend, str(device)) for x in timed],
    }


def _correctness_row(result: RunResult) -> dict[str, Any]:
    row = result.as_dict()
    kept = ("max_abs_err", "ref_max_abs_err", "lse_max_abs_err", "ok", "reasons")
    return {"shape": result.shape.name, **{name: row[name] for name in kept}, "hazards": result.hazards}


def _timing_row(result: RunResult, backend: Backend, device: str) -> dict[str, Any]:
    time_us = float(result.figures.get("time_us", result.wall_s * 1e6))
    row: dict[str, Any] = {"shape": result.shape.name, "ok": result.ok, "tflops": result.figures["tflops"]}
    row["simulated_us" if result.simulated else "measured_us"] = time_us
    if backend.name == "npu" and not result.simulated:
        row["simulated_us"] = _simulated_us(result.shape, backend, device)
    return row


def _simulated_us(shape: ShapeConfig, backend: Backend, device: str) -> float:
    soc = backend.soc
    if soc is None:
        from ..npu.runtime import soc_of_device

        soc = soc_of_device(0)
    return float(run(shape, make_backend("sim", soc=soc, tiling=backend.tiling, checks=False)).figures["time_us"])


def describe(report: Mapping[str, Any]) -> str:
    rows = []
    for x in report["correctness"]:
        errors = [f"{x[name]:.2e}" if x[name] is not None else "-" for name in ERRORS]
        rows.append([x["shape"], "ok" if x["ok"] and not x["hazards"] else "WRONG", *errors])
    header = ["shape", "result", "max abs error", "PyTorch's own", "lse error"]
    lines = [f"{report['backend']} ({report['device']}), times {report['figures']}", table(header, rows)]
    rows = [[x["shape"], "ok" if x["ok"] else "WRONG"] for x in report["append"]]
    lines += ["", table(["append_kv_cache_, every bit", "result"], rows)]
    both = report["correctness"] + report["append"]
    lines += [f"  {x['shape']}: {reason}" for x in both for reason in x["reasons"]]
    rows = []
    for x in report["timings"]:
        simulated, measured = x.get("simulated_us"), x.get("measured_us")
        ratio = f"{measured / simulated:.2f}" if simulated and measured else "-"
        times = [f"{t:,.1f}" if t is not None else "-" for t in (simulated, measured)]
        rows.append([x["shape"], "ok" if x["ok"] else "WRONG", *times, ratio, f"{x['tflops']:.2f}"])
    header = ["shape", "result", "simulated us", "measured us", "measured/simulated", "TFLOPS"]
    return "\n".join([*lines, "", table(header, rows), "", f"selftest {'ok' if report['ok'] else 'FAILED'}"])
