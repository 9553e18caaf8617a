"""`fastattn bench calibration`: published measurements beside the simulated figures, the error of each, and the claim.

Every row runs the kernel that stands for the measurement through the simulator with the arithmetic left out, so that
operands need no memory. Simulated and published figures never share a column.
"""

import argparse
import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from .._native import core
from ..soc_config import load_soc
from .calibration_rows import ATTENTION_TILING, ROWS, Row

MICRO_AIM = 0.10  # geometric mean of the micro rows
MICRO_WORST = 0.30
ATTENTION_AIM = 0.15
FAKE_ADDRESS = 1 << 40  # operands that nothing reads or writes
FAKE_SPACING = 1 << 36
PIPES = ("aic.", "aiv.")


@dataclass(frozen=True)
class Outcome:
    """A row with its simulated figure; `error` is simulated / published - 1."""

    row: Row
    simulated: float
    bottleneck: str

    @property
    def error(self) -> float:
        return self.simulated / self.row.published - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name or group contains TEXT")


def run(args: argparse.Namespace) -> int:
    """Prints the table; 0 when the aims hold, or when only some rows were asked for."""
    rows = [row for row in ROWS if args.only in row.name or args.only == row.group]
    outcomes = [simulate(row) for row in rows]
    answer = summary(outcomes)
    print(json.dumps(answer, indent=2) if args.json else as_text(outcomes, answer))
    return 0 if args.only or answer["ok"] else 1


def simulate(row: Row, changes: Mapping[str, float] | None = None) -> Outcome:
    """Runs one row; `changes` replaces constants of the SoC."""
    report = _report(row.kernel, row.soc, row.block_dim, _frozen(row.tiling), _frozen(row.operands),
                     row.warm, _frozen(changes or {}))  # fmt: skip
    return Outcome(row, _figure(row, report) * row.scale, report["bottleneck"])


def _frozen(values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(values.items())


@cache
def _report(kernel: str, soc_name: str, block_dim: int, tiling: Any, operands: Any, warm: bool, changes: Any) -> dict[str, Any]:
    soc = load_soc(soc_name).values() | dict(changes)
    options = {"functional": False, "checks": False, "threads": 1, "warm_l2": warm}
    if kernel == "flash_attention_fwd":
        return _attention(soc, block_dim, dict(tiling), options)
    packed = struct.pack(f"<{len(tiling)}I", *(value for _, value in tiling))
    report = core().simulate(kernel, soc, packed, block_dim, _fake(dict(operands)), 0, options)
    return dict(report) | {"mhz": soc["clock.mhz"], "launch": soc["launch.cycles"]}


def _attention(soc: dict[str, Any], block_dim: int, shape: dict[str, int], options: dict[str, Any]) -> dict[str, Any]:
    """One head of 128 with the table's tiling."""
    problem = {"b": 1, "h_q": 1, "h_kv": 1, "d": 128, "dtype": "fp16", "causal": False} | shape
    plan = core().plan(problem, soc, ATTENTION_TILING | {"block_dim": block_dim})
    sizes = {name: shape["s_q" if name in "qo" else "s_kv"] * 256 for name in "qkvo"}
    sizes |= {"lse": shape["s_q"] * 4, "mask": plan["tiling"]["mask_block"] ** 2 // 2}
    report = core().simulate("flash_attention_fwd", soc, plan["tiling_bytes"], block_dim, _fake(sizes),
                             plan["workspace_bytes"], options)  # fmt: skip
    return dict(report) | {"mhz": soc["clock.mhz"], "launch": soc["launch.cycles"]}


def _fake(sizes: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    return {name: (FAKE_ADDRESS + i * FAKE_SPACING, size) for i, (name, size) in enumerate(sizes.items())}


def _figure(row: Row, report: Mapping[str, Any]) -> float:
    """The quantity that the row's measurement names."""
    if row.measure == "time_us":
        return float(report["time_us"])
    cycles = report["cycles"] - report["launch"]
    if row.measure == "kernel":
        return float(cycles / report["mhz"])
    if row.measure == "total":
        return float(cycles)
    if row.measure == "per_loop":
        return float(cycles / row.tiling["loops"])
    assert row.measure.startswith(PIPES), row.measure
    # A kernel on one vector core leaves the block's other one idle; busy fractions are means over both.
    idle = 2 if row.measure.startswith("aiv.") and row.tiling.get("cores") == 1 else 1
    return float(idle * report["pipe_busy"][row.measure] * report["cycles"] / report["mhz"])


def geometric_mean_error(outcomes: Iterable[Outcome]) -> float:
    """exp(mean |ln(simulated / published)|) - 1: over and under count alike."""
    logs = [abs(math.log1p(outcome.error)) for outcome in outcomes]
    return math.exp(sum(logs) / len(logs)) - 1 if logs else 0.0


def worst_error(outcomes: Iterable[Outcome]) -> float:
    return max((abs(outcome.error) for outcome in outcomes), default=0.0)


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """The rows and the claim, ready for JSON."""
    micro = [o for o in outcomes if o.row.group != "attention"]
    attention = [o for o in outcomes if o.row.group == "attention"]
    held_out = {"micro": [o for o in micro if not o.row.fits], "attention": [o for o in attention if not o.row.fits]}
    answer: dict[str, Any] = {
        "rows": [
            {
                "name": o.row.name, "group": o.row.group, "unit": o.row.unit, "published": o.row.published,
                "simulated": o.simulated, "error": o.error, "fitted": list(o.row.fits), "source": o.row.source,
            }
            for o in outcomes
        ],
        "micro": {"rows": len(micro), "geometric_mean_error": geometric_mean_error(micro), "worst": worst_error(micro)},
        "attention": {"rows": len(attention), "geometric_mean_error": geometric_mean_error(attention),
                      "worst": worst_error(attention)},
        "held_out": {name: {"rows": len(rows), "geometric_mean_error": geometric_mean_error(rows)}
                     for name, rows in held_out.items()},
        "fitted_constants": sorted({constant for o in outcomes for constant in o.row.fits}),
    }  # fmt: skip
    answer["ok"] = (
        answer["micro"]["geometric_mean_error"] <= MICRO_AIM
        and answer["micro"]["worst"] <= MICRO_WORST
        and answer["attention"]["geometric_mean_error"] <= ATTENTION_AIM
    )
    return answer


def as_text(outcomes: list[Outcome], answer: Mapping[str, Any]) -> str:
    width = max((len(o.row.name) for o in outcomes), default=0)
    lines = [f"{'row':{width}}  {'published':>10}  {'simulated':>10}  {'error':>7}  unit    fitted on it"]
    for o in outcomes:
        fits = ", ".join(o.row.fits) or "-"
        lines.append(
            f"{o.row.name:{width}}  {o.row.published:10.1f}  {o.simulated:10.1f}  {o.error:+7.1%}  {o.row.unit:6}  {fits}"
        )
    for group in ("micro", "attention"):
        part, out = answer[group], answer["held_out"][group]
        lines.append(
            f"{group}: {part['rows']} rows, geometric mean {part['geometric_mean_error']:.1%}, worst {part['worst']:.1%}; "
            f"kept out of the fit: {out['rows']} rows, {out['geometric_mean_error']:.1%}"
        )
    lines.append("claim holds" if answer["ok"] else "claim does not hold")
    return "\n".join(lines)
