"""`fastattn bench tiling`: what two-level tiling is worth, and what each of its choices is, simulated.

For s = 1K ... 16K with s · heads = 16K: the plan, unified tiling, the public schedule, and the plan with one choice
changed at a time. Cycles come from the simulator with the arithmetic left out (functional=False), cold L2, one launch.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .._native import core
from ..config import SocConfig, load_soc, load_tiling
from ..dispatch import DEFAULT_SOC
from ..kernel_call import plan_problem
from ..sim.launch import default_threads
from ..sim.timing import time_plan
from ..tuning import STEPS, commit_of_checkout, fields_of, neighbours
from .prefill import BASELINES, NOTE, Case
from .progress import progress

TOKENS = 16384  # of all heads
LENGTHS = (1024, 2048, 4096, 8192, 16384)
QUICK_LENGTHS = (1024,)
QUICK_TOKENS = 2048
PLAN = "plan"


@dataclass(frozen=True)
class Variant:
    """A tiling beside the plan: `choice` is what differs, `tiling` the fields that op_host is given."""

    choice: str
    tiling: Mapping[str, int | str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--quick", action="store_true", help="one short length only")
    parser.add_argument("--d", type=int, default=128, help="head dim (default 128)")
    parser.add_argument("--causal", action="store_true", help="causal attention (default full)")
    parser.add_argument("--soc", default=DEFAULT_SOC, help=f"SoC file or name in configs/soc (default {DEFAULT_SOC})")
    parser.add_argument("--threads", type=int, default=None, help="simulations at a time (default all CPUs)")


def variants(plan: Mapping[str, int]) -> Iterator[Variant]:
    """The plan, the baselines, and the plan with one choice changed."""
    yield Variant(PLAN, plan)
    for name in BASELINES:
        yield Variant(name, load_tiling(name).fields)
    for choice, changed in neighbours(plan):
        yield Variant(choice, changed)


def simulate(case: Case, variant: Variant, soc: SocConfig) -> dict[str, Any]:
    """One row; cycles None where the variant does not fit the chip, with op_host's reasons."""
    row: dict[str, Any] = {"s": case.s, "heads": case.heads, "choice": variant.choice}
    try:
        plan = core().plan(case.problem(), soc.values(), dict(variant.tiling))
    except ValueError as error:
        return row | {"cycles": None, "reasons": str(error).splitlines()[1:]}
    return row | {"cycles": round(time_plan(case.problem(), plan, soc.values())["cycles"])}


def run(args: argparse.Namespace) -> int:
    soc = load_soc(args.soc)
    tokens = QUICK_TOKENS if args.quick else TOKENS
    todo = []
    for s in QUICK_LENGTHS if args.quick else LENGTHS:
        case = Case(s, args.d, tokens // s, args.causal)
        plan = fields_of(plan_problem(case.problem(), soc)["tiling"])
        todo += [(case, variant) for variant in variants(plan)]
    with ThreadPoolExecutor(args.threads or default_threads()) as pool:
        work = pool.map(lambda item: simulate(item[0], item[1], soc), todo)
        rows = list(progress(work, len(todo), "tilings, simulated"))
    base = {row["s"]: row["cycles"] for row in rows if row["choice"] == PLAN}
    for row in rows:
        row["over_plan"] = row["cycles"] / base[row["s"]] if row["cycles"] else None
    commit = commit_of_checkout()
    if args.json:
        tilings = [{"s": case.s, **variant.tiling} for case, variant in todo if variant.choice == PLAN]
        head = {"figures": "simulated", "soc": soc.name, "commit": commit, "note": NOTE}
        print(json.dumps({**head, "plans": tilings, "rows": rows}))
    else:
        print(as_text(f"{soc.name}, commit {commit}", [(case, v.tiling) for case, v in todo if v.choice == PLAN], rows))
    return 0


def as_text(what: str, plans: Sequence[tuple[Case, Mapping[str, int | str]]], rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown, a column a length: the plans, then cycles over the plan's. what: SoC and commit."""
    kind = f"d = {plans[0][0].d}, {'causal' if plans[0][0].causal else 'full'}"
    cycles = {row["s"]: row["cycles"] for row in rows if row["choice"] == PLAN}
    ratios = {(row["s"], new_value(row["choice"])): cell(row) for row in rows}
    names = [f"{field} {value}" for field, values in STEPS.items() for value in values]
    lines = [f"{what}: {NOTE}", "", *head(f"plan, {kind}", plans)]
    lines += [line(field, [plan[field] for _, plan in plans]) for field in plans[0][1]]
    lines += [line("cycles", [f"{cycles[case.s]:,}" for case, _ in plans]), ""]
    lines += head(f"cycles over the plan's, {kind}", plans)
    for name in (*BASELINES, *names):
        cells = [ratios.get((case.s, name), "plan" if is_of(plan, name) else "") for case, plan in plans]
        if set(cells) - {"", "plan"}:
            lines.append(line(name, cells))
    return "\n".join(lines)


def head(title: str, plans: Sequence[tuple[Case, Any]]) -> list[str]:
    columns = [f"s = {case.s}, {case.heads} head{'s' * (case.heads > 1)}" for case, _ in plans]
    return [line(title, columns), "|" + " --- |" * (len(columns) + 1)]


def line(title: str, cells: Iterable[object]) -> str:
    return "| " + " | ".join([title, *map(str, cells)]) + " |"


def new_value(choice: str) -> str:
    """The field and its new value, of a choice as tuning.neighbours names it; baselines keep their name."""
    words = choice.split()
    return f"{words[0]} {words[-1]}" if len(words) > 1 else choice


def is_of(plan: Mapping[str, int | str], name: str) -> bool:
    return name in (f"{field} {value}" for field, value in plan.items())


def cell(row: Mapping[str, Any]) -> str:
    return f"{row['over_plan']:.3f}" if row["cycles"] else "does not fit"
