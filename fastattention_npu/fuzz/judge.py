"""Judges one case in this process: right against float64, or refused where it is illegal."""

from typing import Any

import torch

from .. import ops, reference  # noqa: F401  (ops defines torch.ops.fastattn)
from .._native import core
from ..arguments import check_arguments
from ..distributed.layer import run_layer
from ..errors import RefusedError
from ..inputs import make_inputs
from ..options import Options
from ..shape_config import ShapeConfig, shape_from_dict
from ..sim.launch import SimReport, launch_flash_attention
from .faults import FAULTS
from .problems import Case
from .tilings import Fields, backend_of, planner

POOL_SEEDS = (
    7  # more draws of a problem whose outputs are so few that the same-precision reference may be right by luck
)
Verdict = dict[str, str]  # how: ok, or the kind of finding; text
OK: Verdict = {"how": "ok", "text": ""}
# Not every tiling fits every problem. It is refused by op_host, before a launch; op_host's own choice must be right.
REFUSED_TILING: Verdict = {"how": "ok", "text": "tiling refused"}


def judge(case: Case) -> Verdict:
    """Every exception is a finding, but a refusal of an illegal case."""
    try:
        return judge_illegal(case) if case["kind"] == "illegal" else judge_legal(case)
    except RefusedError as error:
        return {"how": "refused", "text": str(error)}
    except Exception as error:
        return {"how": f"raises {type(error).__name__}", "text": str(error)[:2000]}


def judge_legal(case: Case) -> Verdict:
    if case["tiling"] and not planner(case["shape"], case.get("soc"))(case["tiling"]):
        own = judge_legal(case | {"tiling": {}})
        return REFUSED_TILING if own == OK else own
    shape = shape_from_dict(case["shape"], "fuzz")
    outcomes = [_outcome(shape, case, case["seed"])]
    reasons = _reasons(outcomes)
    if not reasons:
        return OK
    # The accuracy rule compares errors; over a handful of elements the reference's may be zero by luck. The same rule
    # over several draws of the same problem has no such luck, and lets no wrong result through.
    outcomes += [_outcome(shape, case, case["seed"] + i) for i in range(1, 1 + POOL_SEEDS)]
    reasons = _reasons(outcomes)
    return {"how": "wrong result", "text": "; ".join(reasons)} if reasons else OK


def _outcome(shape: ShapeConfig, case: Case, seed: int) -> list[torch.Tensor]:
    """[out, lse, exact out, exact lse, same-precision out, same-precision lse], without lse of several ranks"""
    if shape.allreduce is not None:
        return _fused_outcome(shape, case, seed)
    arguments = make_inputs(shape, seed)
    exact = reference.attention_float64(**arguments)
    same = reference.attention_same_precision(**arguments)
    if case["backend"] == "cpu":
        return [*torch.ops.fastattn.flash_attention(**arguments), *exact, *same]
    out, lse, report = _simulate(arguments, case["tiling"], case)
    if report.figures.get("hazards", 0):
        raise core().SimulatorError(f"hazard: {report.figures['hazard_texts'][0]}")
    for text in report.figures.get("warning_texts", ()):
        raise core().SimulatorError(f"warning: {text}")
    return [out, lse, *exact, *same]


def _fused_outcome(shape: ShapeConfig, case: Case, seed: int) -> list[torch.Tensor]:
    """The same of all ranks' projection and AllReduce, whose lse nobody sees."""
    settings = {"kernel_library": case["kernels"]} if case.get("kernels") else {}
    done = run_layer(shape, backend_of(case.get("soc"), case["tiling"]), seed, **settings)
    if done.result.hazards:
        raise core().SimulatorError(f"hazard: {done.result.hazards[0]}")
    nothing = torch.zeros(1)
    return [done.tensors[0], nothing, done.tensors[1], nothing, done.tensors[2], nothing]


def _simulate(arguments: dict[str, Any], tiling: Fields, case: Case) -> tuple[torch.Tensor, torch.Tensor, SimReport]:
    """(out, lse, report) of the case's kernels, the package's own where it names none."""
    backend = backend_of(case.get("soc"), tiling)
    q, k, v = (arguments[name] for name in "qkv")
    options = Options.from_names({name: x for name, x in arguments.items() if name not in "qkv"}, "fuzz")
    settings = {"kernel_library": case["kernels"]} if case.get("kernels") else {}
    launch = launch_flash_attention(q, k, v, options, check_arguments(q, k, v, options, "sim"), backend, settings)
    return (*launch.outputs, launch.report)


def _reasons(outcomes: list[list[torch.Tensor]]) -> list[str]:
    pooled = [torch.stack(tensors) for tensors in zip(*outcomes, strict=True)]
    found = []
    for i, name in enumerate(("out", "lse")):
        found += [f"{name}: {x}" for x in reference.check(pooled[i], pooled[i + 2], pooled[i + 4]).reasons]
    return found


def judge_illegal(case: Case) -> Verdict:
    shape = shape_from_dict(case["shape"], "fuzz")
    arguments: dict[str, Any] | None = FAULTS[case["fault"]](make_inputs(shape, case["seed"]))
    if arguments is None:
        return OK  # the fault does not apply to this problem
    try:
        if case["backend"] == "cpu":
            torch.ops.fastattn.flash_attention(**arguments)
        else:
            _simulate(arguments, {}, case)
    except RefusedError:
        return OK
    return {"how": "not refused", "text": f"fault {case['fault']!r} went through"}
