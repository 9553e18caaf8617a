"""A simulated run in the Chrome trace format, which Perfetto and chrome://tracing open.

A process is a core group, a thread a pipe of one of its cores. Flags are flow arrows from the last instruction before
the set to the first one behind the wait; stalls are slices between instructions; hazards are instant events. Times are
simulated. Format: the Trace Event Format document of the Chromium project.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from .profiling import Profile
from .timeline import CROSS_WAIT, FIRST_STALL, INSTRUCTION, KINDS, PIPES, event_name

MIN_STALL_CYCLES = 32  # shorter ones only fill the file: the gap between two instructions shows them as well
WAIT_CYCLES = 1.0  # a wait that the clock gives no extent is drawn this long
THREADS_PER_CORE = 10
ALL_CORES_PID = 1_000
PIDS_PER_RANK = 10_000
MAX_ARROWS_PER_PID = 1_000
ARROWS = ("flag", "cross-core flag", "unit flags")  # by number


class _Writer:
    """Turns one profile into events. Microseconds throughout, as the format wants."""

    def __init__(self, profile: Profile, rank: int | None = None) -> None:
        self.profile = profile
        self.base = (rank or 0) * PIDS_PER_RANK
        self.prefix = "" if rank is None else f"rank {rank}, "
        self.timeline = profile.timeline
        self.us = profile.cycles_to_us(1.0)
        raw = self.timeline.raw
        self.events = {name: column.tolist() for name, column in self.timeline.events.items()}
        self.pids = [self.base + core["group"] for core in raw["cores"]]
        self.places = [core["core_in_group"] for core in raw["cores"]]

    def all_events(self) -> Iterator[dict[str, Any]]:
        yield from self.metadata()
        yield from self.slices()
        yield from self.arrows()
        yield from self.hazards()
        yield from self.counters()

    def tid(self, core: int, pipe: int) -> int:
        return self.places[core] * THREADS_PER_CORE + pipe

    def track(self, index: int) -> dict[str, int]:
        core = self.events["core"][index]
        return {"pid": self.pids[core], "tid": self.tid(core, self.events["pipe"][index])}

    def span(self, index: int) -> tuple[float, float]:
        """Start and end in cycles; a cross-core wait always has an extent, which ends when it is let through."""
        start, end = self.events["start"][index], self.events["end"][index]
        if self.events["kind"][index] == CROSS_WAIT:
            start = max(0.0, min(start, end - WAIT_CYCLES))
        return start, end

    def metadata(self) -> Iterator[dict[str, Any]]:
        soc = self.profile.soc.name
        names = {pid: f"core group {pid - self.base} (simulated {soc})" for pid in sorted(set(self.pids))}
        for pid, name in (names | {self.base + ALL_CORES_PID: f"all cores, busy share (simulated {soc})"}).items():
            yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": self.prefix + name}}
            yield {"ph": "M", "name": "process_sort_index", "pid": pid, "args": {"sort_index": pid}}
        for order, (core, pipe) in enumerate(self.timeline.tracks()):
            place = {"pid": self.pids[core], "tid": self.tid(core, pipe)}
            name = f"{self.timeline.core_name(core)} {PIPES[pipe]}"
            yield {"ph": "M", "name": "thread_name", **place, "args": {"name": name}}
            yield {"ph": "M", "name": "thread_sort_index", **place, "args": {"sort_index": order}}

    def slices(self) -> Iterator[dict[str, Any]]:
        raw, tensors = self.timeline.raw, self.timeline.tensors
        for i, kind in enumerate(self.events["kind"]):
            start, end = self.span(i)
            if kind >= FIRST_STALL and (KINDS[kind] in ("start", "end") or end - start < MIN_STALL_CYCLES):
                continue
            args: dict[str, Any] = {"line": raw["sites"][self.events["site"][i]], "cycles": round(end - start, 2)}
            if kind == INSTRUCTION and self.events["gm_bytes"][i]:
                args |= {"tensor": tensors[self.events["detail"][i]], "gm_bytes": self.events["gm_bytes"][i]}
            yield {
                "ph": "X",
                "name": event_name(self.timeline, i),
                "cat": "instruction" if kind == INSTRUCTION else "wait" if kind == CROSS_WAIT else "stall",
                "ts": start * self.us,
                "dur": (end - start) * self.us,
                **self.track(i),
                "args": args,
            }

    def arrows(self) -> Iterator[dict[str, Any]]:
        arrows = {name: column.tolist() for name, column in self.timeline.arrows.items()}
        for k, (set_by, waiter) in enumerate(zip(arrows["from"], arrows["to"], strict=True)):
            cat = ARROWS[arrows["cross"][k]]
            units = cat == "unit flags"  # which the other pipe follows before the slice ends
            name = cat if units else f"{cat} {arrows['id'][k]}"
            start, end = self.span(set_by)
            inside = min(0.5, (end - start) / 2)  # within the slice, which its end is not
            leave = start + inside if units else end - inside
            start, end = self.span(waiter)
            is_wait = self.events["kind"][waiter] == CROSS_WAIT
            arrive = end - min(0.5, (end - start) / 2) if is_wait else start
            common = {"cat": cat, "name": name, "id": self.base * MAX_ARROWS_PER_PID + k}
            yield {"ph": "s", **common, "ts": leave * self.us, **self.track(set_by)}
            yield {"ph": "f", "bp": "e", **common, "ts": max(leave, arrive) * self.us, **self.track(waiter)}

    def hazards(self) -> Iterator[dict[str, Any]]:
        for hazard in self.timeline.raw["hazards"]:
            found = False
            for role in ("later", "earlier"):
                index = hazard[f"{role}_event"]
                if index < 0:
                    continue
                found = True
                args = {"text": hazard["text"], "role": f"the {role} of the two instructions"}
                ts = self.events["start"][index] * self.us
                yield {
                    "ph": "i",
                    "s": "t",
                    "cat": "hazard",
                    "name": "HAZARD",
                    "ts": ts,
                    **self.track(index),
                    "args": args,
                }
            if not found and self.base + hazard["group"] in self.pids:
                args = {"text": hazard["text"], "role": "its instructions are not shown"}
                place = {"pid": self.base + hazard["group"], "tid": 0}
                yield {"ph": "i", "s": "p", "cat": "hazard", "name": "HAZARD", "ts": 0.0, **place, "args": args}

    def counters(self) -> Iterator[dict[str, Any]]:
        step = self.timeline.kernel_cycles / self.timeline.raw["bins"] * self.us
        for pipe, shares in self.timeline.utilisation().items():
            for i, share in enumerate(shares):
                yield {
                    "ph": "C",
                    "name": f"{pipe} busy %",
                    "ts": i * step,
                    "pid": self.base + ALL_CORES_PID,
                    "args": {"%": round(100 * share, 1)},
                }


def trace_header(profile: Profile) -> dict[str, Any]:
    """What the file says about itself."""
    raw = profile.timeline.raw
    return {
        "figures": "simulated",
        "soc": profile.soc.name,
        "shape": profile.shape.as_dict(),
        "tiling": profile.plan["tiling"],
        "cycles": profile.figures["cycles"],
        "kernel_cycles": raw["kernel_cycles"],
        "hazards": profile.figures["hazards"],
        "omitted_events": raw["omitted_events"],
        "flags_without_arrow": raw["sets_without_arrow"],
        "shortest_stall_shown_cycles": MIN_STALL_CYCLES,
    }


def write_trace(profile: Profile, path: Path) -> int:
    """Writes the trace, an event a line; returns how many events there are."""
    return _write(path, trace_header(profile), _Writer(profile).all_events())


def write_ranks_trace(
    profiles: Sequence[Profile], path: Path, header: Mapping[str, Any], links: Iterable[dict[str, Any]]
) -> int:
    """The same of several ranks in one time, with events of the links between them."""
    ranks = (_Writer(profile, rank).all_events() for rank, profile in enumerate(profiles))
    return _write(path, header, chain(links, *ranks))


def _write(path: Path, header: Mapping[str, Any], events: Iterable[dict[str, Any]]) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit": "ns",\n"otherData": ')
        file.write(json.dumps(header, default=str))
        file.write(',\n"traceEvents": [')
        for event in events:
            file.write(("\n" if count == 0 else ",\n") + json.dumps(event, separators=(",", ":")))
            count += 1
        file.write("\n]}\n")
    return count
