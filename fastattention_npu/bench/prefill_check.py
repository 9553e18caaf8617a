"""`fastattn bench prefill --check`: every plan of the table with its arithmetic and all checks, against float64.

The table itself is timed without arithmetic, which no wrong result can disturb. Long sequences are compared at some
query rows of every head, one at random of each run; races and poison are looked for in all rows.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import reference
from ..arguments import check_arguments
from ..config import SocConfig, TilingConfig
from ..dispatch import Backend
from ..errors import SimulatorWarning
from ..inputs import make_inputs
from ..options import Options
from ..shape_config import shape_from_dict
from ..sim.launch import launch_flash_attention

MOST_SCORES = 2**22  # of the references, all heads together: some seconds
SEED = 0


@dataclass(frozen=True)
class Checked:
    """What a run was found to be: reasons why it is wrong, none if it is right; the errors are O's."""

    max_abs_err: float
    ref_max_abs_err: float
    rows: int  # compared, of all heads
    reasons: tuple[str, ...]


class CheckedInputs:
    """Random operands of a problem (op_host's words, bshd, no window), and what is right at some query rows."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        arguments = make_inputs(shape_from_dict(dict(problem), "bench prefill"), SEED)
        self.q, self.k, self.v = (arguments.pop(name) for name in "qkv")
        self.options = Options.from_names(arguments, "bench prefill")
        self.rows = sampled_rows(self.q.size(1), self.k.size(1), self.q.size(2))
        self.exact, self.same = references(self.q, self.k, self.v, self.rows, self.options.causal)


def check_plan(
    data: CheckedInputs, soc: SocConfig, tiling: TilingConfig | None, plan: Mapping[str, Any], threads: int
) -> Checked:
    """Runs `plan`, which op_host makes of this tiling (None: its own choice)."""
    backend = Backend("sim", soc=soc, tiling=tiling, threads=threads)
    q, k, v, options = data.q, data.k, data.v, data.options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SimulatorWarning)  # they are reasons below
        launch = launch_flash_attention(q, k, v, options, check_arguments(q, k, v, options, "sim"), backend)
    reasons = [] if launch.report.plan["tiling_bytes"] == plan["tiling_bytes"] else ["another plan than the table's"]
    figures = launch.report.figures
    if figures["hazards"]:
        reasons.append(f"{figures['hazards']} hazards, the first: {figures['hazard_texts'][0]}")
    reasons += [f"warning: {text}" for text in figures.get("warning_texts", ())]
    out, lse = launch.outputs[0][:, data.rows], launch.outputs[1][..., data.rows]
    found = [reference.check(*x) for x in zip((out, lse), data.exact, data.same, strict=True)]
    reasons += [f"{name}: {x}" for name, one in zip(("out", "lse"), found, strict=True) for x in one.reasons]
    return Checked(found[0].max_abs_err, found[0].ref_max_abs_err, len(data.rows) * q.size(2), tuple(reasons))


def sampled_rows(s_q: int, s_kv: int, heads: int) -> Tensor:
    """One row of each run of as few rows as MOST_SCORES allows, and the first and the last row."""
    run = max(1, s_q * s_kv * heads // MOST_SCORES)
    starts = torch.arange(0, s_q, run)
    within = torch.randint(run, starts.shape, generator=torch.Generator().manual_seed(SEED))
    return torch.cat([torch.tensor([0, s_q - 1]), (starts + within).clamp(max=s_q - 1)]).unique()


def references(
    q: Tensor, k: Tensor, v: Tensor, rows: Tensor, causal: bool
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(out, lse) of these query rows in float64, and in the same precision; layout bshd."""
    some: dict[str, Any] = {}
    if causal:
        keys = torch.arange(k.size(1))
        some["attn_mask"] = keys <= rows[:, None] + k.size(1) - q.size(1)
    exact = reference.attention_float64(q[:, rows], k, v, layout="bshd", **some)
    return exact, reference.attention_same_precision(q[:, rows], k, v, layout="bshd", **some)
