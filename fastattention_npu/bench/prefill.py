"""`fastattn bench prefill`: simulated speed of the forward kernel over sequence lengths, beside its baselines.

Cycles come from the simulator with the arithmetic left out (functional=False), cold L2, one launch with its cost.
Baselines run in the same simulator: standard attention (three kernels through GM), unified tiling (level 1 = level 2)
and the schedule of public packages. Everything is simulated; nothing was measured on a card. --check runs the plans of
all rows, unified and public ones too, with the arithmetic and all checks (prefill_check.py) instead of timing them.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from .._native import core
from ..config import SocConfig, TilingConfig, load_soc, load_tiling
from ..dispatch import DEFAULT_SOC
from ..kernel_call import plan_problem
from ..sim.launch import default_threads
from ..sim.timing import time_plan
from ..tuning import commit_of_checkout
from .prefill_check import CheckedInputs, check_plan
from .progress import progress
from .standard_attention import standard_cycles

LENGTHS = (1024, 2048, 4096, 8192, 16384)
QUICK_LENGTHS = (1024, 2048)
DIMS = (64, 128)
HEADS = (1, 32)
MOST_KEYS = {32: 4096}  # longest sequence of that many heads
OTHERS = ((4096, 128, 24, False),)  # s, d, heads, causal: cases beside the grid
BASELINES = ("unified", "public_schedule")
NOTE = "simulated (910B model, arithmetic left out, cold L2); nothing was measured on a card"


@dataclass(frozen=True)
class Case:
    s: int
    d: int
    heads: int
    causal: bool

    def problem(self) -> dict[str, Any]:
        sizes = {"b": 1, "s_q": self.s, "s_kv": self.s, "h_q": self.heads, "h_kv": self.heads, "d": self.d}
        return sizes | {"dtype": "fp16", "layout": "bshd", "causal": self.causal}

    def useful_macs(self) -> float:
        pairs = self.s * (self.s + 1) / 2 if self.causal else self.s * self.s
        return 2.0 * self.d * self.heads * pairs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--quick", action="store_true", help="short sequences of one head only")
    parser.add_argument(
        "--check", action="store_true", help="compare results with float64 instead; status 1 if one is wrong"
    )
    parser.add_argument("--soc", default=DEFAULT_SOC, help=f"SoC file or name in configs/soc (default {DEFAULT_SOC})")
    parser.add_argument("--threads", type=int, default=None, help="simulations at a time (default all CPUs)")


def cases(quick: bool) -> Iterator[Case]:
    for heads in HEADS[:1] if quick else HEADS:
        for d in DIMS:
            for causal in (False, True):
                for s in QUICK_LENGTHS if quick else LENGTHS:
                    if s <= MOST_KEYS.get(heads, s):
                        yield Case(s, d, heads, causal)
    if not quick:
        yield from (Case(*other) for other in OTHERS)


def simulate(case: Case, soc: SocConfig) -> dict[str, Any]:
    """One row: the kernel's figures and the ratio of each baseline's cycles to its own."""
    problem, values = case.problem(), soc.values()
    (_, _, plan), *baselines = plans(case, soc)
    cycles = time_plan(problem, plan, values)["cycles"]
    peak_macs = values["cores.aic"] * 16**3
    time_us = cycles / values["clock.mhz"]
    limit = plan["model"]["limit_cycles"]
    row: dict[str, Any] = {
        "s": case.s, "d": case.d, "heads": case.heads, "causal": case.causal, "cycles": round(cycles),
        "time_us": time_us, "tflops": 2 * case.useful_macs() / time_us / 1e6,
        "cube_utilisation": case.useful_macs() / peak_macs / cycles,
        "limit_cycles": round(limit), "bottleneck": plan["model"]["bottleneck"], "efficiency": limit / cycles,
        "chosen_by": plan["chosen_by"], "standard_cycles": round(sum(standard_cycles(problem, values))),
    }  # fmt: skip
    for name, _, baseline in baselines:
        row[f"{name}_cycles"] = round(time_plan(problem, baseline, values)["cycles"])
    return row | {f"over_{name}": row[f"{name}_cycles"] / row["cycles"] for name in ("standard", *BASELINES)}


def plans(case: Case, soc: SocConfig) -> Iterator[tuple[str, TilingConfig | None, dict[str, Any]]]:
    """(name, tiling, plan) of the kernel and of the baselines that are tilings of it."""
    yield "chosen", None, plan_problem(case.problem(), soc)
    for name in BASELINES:
        tiling = load_tiling(name)
        yield name, tiling, core().plan(case.problem(), soc.values(), dict(tiling.fields))


def check(args: argparse.Namespace, soc: SocConfig) -> int:
    """One line a plan; 0 if all are right."""
    threads = args.threads or default_threads()
    rows = []
    for case in progress(iter(todo := list(cases(args.quick))), len(todo), "prefill, checked"):
        data = CheckedInputs(case.problem())
        for name, tiling, plan in plans(case, soc):
            checked = check_plan(data, soc, tiling, plan, threads)
            rows.append(asdict(case) | {"plan": name} | asdict(checked) | {"ok": not checked.reasons})
            if not args.json:
                print(check_line(rows[-1]), flush=True)
    wrong = sum(not row["ok"] for row in rows)
    commit = commit_of_checkout()
    if args.json:
        print(json.dumps({"figures": "simulated", "soc": soc.name, "commit": commit, "wrong": wrong, "rows": rows}))
    else:
        print(f"{soc.name}, commit {commit}: {len(rows)} plans with arithmetic and all checks, {wrong} wrong")
    return 1 if wrong else 0


def check_line(row: Mapping[str, Any]) -> str:
    mask = "causal" if row["causal"] else "full"
    text = (
        f"{row['heads']:>2} heads d={row['d']:<3} {mask:<6} s={row['s']:<5} {row['plan']:<15} {row['rows']:>6} rows, "
        f"max abs error {row['max_abs_err']:.2e} (PyTorch {row['ref_max_abs_err']:.2e})"
    )
    return "\n    ".join([f"{text} {'ok' if row['ok'] else 'WRONG'}", *row["reasons"]])


def run(args: argparse.Namespace) -> int:
    soc = load_soc(args.soc)
    if args.check:
        return check(args, soc)
    todo = list(cases(args.quick))
    with ThreadPoolExecutor(args.threads or default_threads()) as pool:
        rows = list(progress(pool.map(lambda case: simulate(case, soc), todo), len(todo), "prefill, simulated"))
    commit = commit_of_checkout()
    if args.json:
        print(json.dumps({"figures": "simulated", "soc": soc.name, "commit": commit, "note": NOTE, "rows": rows}))
    else:
        print(as_text(f"{soc.name}, commit {commit}", rows))
    return 0


def as_text(what: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table, as docs/performance.md has it. what: SoC and commit."""
    head = "| heads | d | mask | s | cycles | TFLOPS | cube | limit by | efficiency | standard | unified | public |"
    lines = [f"{what}: {NOTE}", "", head, "|" + " --- |" * head.count(" | ") + " --- |"]
    lines += [
        f"| {r['heads']} | {r['d']} | {'causal' if r['causal'] else 'full'} | {r['s']} | {r['cycles']:,} | "
        f"{r['tflops']:.1f} | {r['cube_utilisation']:.1%} | {r['bottleneck']} | {r['efficiency']:.2f} | "
        f"{r['over_standard']:.2f} | {r['over_unified']:.2f} | {r['over_public_schedule']:.2f} |"
        for r in rows
    ]
    lines += ["", "standard, unified, public: cycles of the baseline over the kernel's (simulated)"]
    return "\n".join(lines)
