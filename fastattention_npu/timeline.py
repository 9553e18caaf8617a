"""The simulator's timeline as Python sees it: NumPy columns of events and arrows, and the words for their numbers.

One event is an instruction, a cross-core wait or a stall of one pipe of one core; times are simulated cycles from the
kernel's start (launch overhead excluded). The native side is sim/machine/timeline.h.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PIPES = ("S", "V", "M", "MTE1", "MTE2", "MTE3", "FIX")  # by number
CORE_NAMES = ("AIC", "AIV0", "AIV1")  # by place in the core group
# The pipes that each kind of core has, in the order of the data.
AIC_PIPES = ("S", "MTE2", "MTE1", "M", "FIX")
AIV_PIPES = ("S", "MTE2", "V", "MTE3")

KINDS = ("instruction", "cross_wait", "start", "flag", "cross_core", "barrier", "issue", "end")  # of events, by number
INSTRUCTION, CROSS_WAIT = 0, 1
FIRST_STALL = 2

# Roles of the attention kernel's cross-core flags (op_kernel/flash_attention/work.h) and the pipes that set them.
CROSS_CORE_FLAGS = {0: ("S ready", "aic.FIX"), 1: ("P ready", "aiv.MTE3"), 2: ("O ready", "aic.FIX")}

# What the pipes do, for readers who do not know the chip.
PIPE_ROLES = {
    "S": "scalar unit: issues everything",
    "MTE2": "loads from GM",
    "MTE1": "L1 to L0A and L0B",
    "M": "cube: matrix multiply",
    "FIX": "L0C to GM",
    "V": "vector arithmetic in UB",
    "MTE3": "UB to GM",
}


@dataclass(frozen=True)
class Timeline:
    """A timeline of one launch. `events` and `arrows`: equal-length columns by name; the rest as the simulator says."""

    raw: Mapping[str, Any]

    @property
    def events(self) -> Mapping[str, np.ndarray]:
        return self.raw["events"]

    @property
    def arrows(self) -> Mapping[str, np.ndarray]:
        return self.raw["arrows"]

    @property
    def kernel_cycles(self) -> float:
        return float(self.raw["kernel_cycles"])

    @property
    def tensors(self) -> list[str]:
        """Names of the GM tensors that an instruction's `detail` counts through."""
        return [row["name"] for row in self.raw["gm"]]

    def core_name(self, core: int) -> str:
        return CORE_NAMES[self.raw["cores"][core]["core_in_group"]]

    def tracks(self) -> list[tuple[int, int]]:
        """(core, pipe) of every track: each pipe that the core has, and any other that shows an event."""
        seen = set(zip(self.events["core"].tolist(), self.events["pipe"].tolist(), strict=True))
        rows: list[tuple[int, int]] = []
        for core, place in enumerate(self.raw["cores"]):
            own = [PIPES.index(name) for name in (AIV_PIPES if place["core_in_group"] else AIC_PIPES)]
            rows += [(core, pipe) for pipe in own]
            rows += [(core, pipe) for pipe in range(len(PIPES)) if pipe not in own and (core, pipe) in seen]
        return rows

    def utilisation(self) -> dict[str, list[float]]:
        """Share of all cores' time in each bin, by "aic.MTE2" and so on; pipes that never work are left out."""
        bins = self.raw["bins"]
        table = np.asarray(self.raw["utilisation"]).reshape(2, len(PIPES), bins)
        return {
            f"{kind}.{PIPES[pipe]}": [round(float(x), 4) for x in table[k, pipe]]
            for k, kind in enumerate(("aic", "aiv"))
            for pipe in range(len(PIPES))
            if table[k, pipe].any()
        }


def stall_text(cause: str, pipe: str, from_pipe: str, flag: int) -> str:
    """A stall in words; `pipe` stood still."""
    if cause == "flag":
        return f"{pipe} waits for {from_pipe} (flag {flag})"
    if cause == "cross_core":
        return f"waits for the other cores ({cross_core_flag(flag)})"
    return {
        "start": "before the first instruction",
        "barrier": "barrier: an earlier result of the same pipe",
        "issue": "nothing issued yet (scalar unit, or a queue is full)",
        "end": "after the last instruction",
    }[cause]


def cross_core_flag(flag: int) -> str:
    known = CROSS_CORE_FLAGS.get(flag)
    return f"cross-core flag {flag}, {known[0]}" if known else f"cross-core flag {flag}"


def event_name(timeline: Timeline, index: int) -> str:
    """What an event is called in both outputs."""
    events = timeline.events
    kind = int(events["kind"][index])
    if kind == INSTRUCTION:
        return timeline.raw["names"][events["name"][index]]
    if kind == CROSS_WAIT:
        return f"wait for {cross_core_flag(int(events['detail'][index]))}"
    pipe, from_pipe = PIPES[events["pipe"][index]], PIPES[events["from"][index]]
    return stall_text(KINDS[kind], pipe, from_pipe, int(events["detail"][index]))


def stall_rows(timeline: Timeline, cores: Mapping[str, int]) -> list[dict[str, Any]]:
    """Stalls of all cores by pipe and cause, the longest first; `cycles` is the mean over the cores of the kind."""
    rows = []
    for stall in timeline.raw["stalls"]:
        pipe, from_pipe = PIPES[stall["pipe"]], PIPES[stall["from"]]
        rows.append(
            {
                "pipe": f"{stall['core_kind']}.{pipe}",
                "cause": stall["cause"],
                "text": stall_text(stall["cause"], pipe, from_pipe, stall["id"]),
                "from": from_pipe if stall["cause"] == "flag" else "",
                "flag": stall["id"],
                "line": timeline.raw["sites"][stall["site"]] if stall["cause"] not in ("start", "end") else "",
                "cycles": stall["cycles"] / max(cores[stall["core_kind"]], 1),
                "count": stall["count"],
            }
        )
    return sorted(rows, key=lambda row: -row["cycles"])


def select_group(timeline: Timeline, group: int) -> Sequence[int]:
    """Indices of the cores of one group."""
    return [i for i, core in enumerate(timeline.raw["cores"]) if core["group"] == group]
