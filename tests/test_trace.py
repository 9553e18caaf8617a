"""The Chrome trace of a simulated run: valid, complete, inside the run, and marked where the race detector objects."""

import json
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from profiles import clean_profile, hazardous_profile, run_profile

from fastattention_npu.cli import main
from fastattention_npu.errors import ConfigError
from fastattention_npu.timeline import AIC_PIPES, AIV_PIPES
from fastattention_npu.trace import write_trace

ROUNDING_US = 1e-3


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    count = write_trace(clean_profile(), path)
    data = json.loads(path.read_text())
    assert len(data["traceEvents"]) == count
    return data


def of_phase(trace: dict[str, Any], *phases: str) -> list[dict[str, Any]]:
    return [event for event in trace["traceEvents"] if event["ph"] in phases]


def test_every_event_lies_inside_the_run(trace: dict[str, Any]) -> None:
    profile = clean_profile()
    end_us = profile.cycles_to_us(trace["otherData"]["kernel_cycles"]) + ROUNDING_US
    for event in of_phase(trace, "X", "s", "f", "i", "C"):
        assert 0 <= event["ts"] <= end_us
        assert event.get("dur", 0) >= 0
        assert event["ts"] + event.get("dur", 0) <= end_us
    assert trace["otherData"]["figures"] == "simulated"
    assert trace["otherData"]["cycles"] > trace["otherData"]["kernel_cycles"]


def test_tracks_and_instructions_are_complete(trace: dict[str, Any]) -> None:
    blocks = clean_profile().plan["block_dim"]
    names = Counter(event["args"]["name"] for event in of_phase(trace, "M") if event["name"] == "thread_name")
    expected = [f"AIC {pipe}" for pipe in AIC_PIPES]
    expected += [f"AIV{i} {pipe}" for i in (0, 1) for pipe in AIV_PIPES]
    assert names == dict.fromkeys(expected, blocks)
    instructions = [event for event in of_phase(trace, "X") if event["cat"] == "instruction"]
    assert len(instructions) == clean_profile().figures["instructions"]
    assert trace["otherData"]["omitted_events"] == 0
    assert all("op_kernel/" in event["args"]["line"] for event in instructions)


def test_slices_of_a_track_do_not_overlap(trace: dict[str, Any]) -> None:
    tracks = defaultdict(list)
    for event in of_phase(trace, "X"):
        if event["cat"] != "wait":
            tracks[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for spans in tracks.values():
        spans.sort()
        assert all(end <= start + ROUNDING_US for (_, end), (start, _) in pairwise(spans))


def test_arrows_match(trace: dict[str, Any]) -> None:
    """Each starts within a slice, ends in one that does not start before, and crosses cores only for such flags."""
    starts = {event["id"]: event for event in of_phase(trace, "s")}
    ends = {event["id"]: event for event in of_phase(trace, "f")}
    assert starts.keys() == ends.keys()
    slices = defaultdict(list)
    for event in of_phase(trace, "X"):
        slices[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for key, start in starts.items():
        end = ends[key]
        assert start["ts"] <= end["ts"]
        assert (start["cat"], start["name"]) == (end["cat"], end["name"])
        same_core = (start["pid"], start["tid"] // 10) == (end["pid"], end["tid"] // 10)
        # A flag of the whole launch is released by the last core that sets it, which may be the one that waits.
        assert same_core or start["cat"] == "cross-core flag"
        part_stored = "cross-core flag 3"
        assert not same_core or start["cat"] in ("flag", "unit flags") or start["name"] == part_stored, start
        for event in (start, end):
            spans = slices[event["pid"], event["tid"]]
            assert any(low <= event["ts"] <= high for low, high in spans)
    assert {event["cat"] for event in starts.values()} == {"flag", "cross-core flag", "unit flags"}


def test_every_cross_core_wait_has_its_arrows(trace: dict[str, Any]) -> None:
    """One from the cube core to a vector core's wait; one from each vector core to the cube core's."""
    waits = [event for event in of_phase(trace, "X") if event["cat"] == "wait"]
    arrows = Counter(
        (event["pid"], event["tid"]) for event in of_phase(trace, "f") if event["cat"] == "cross-core flag"
    )
    for (pid, tid), count in Counter((event["pid"], event["tid"]) for event in waits).items():
        # A vector core that had no row to store sets its flag before any instruction: no arrow then.
        assert count <= arrows[pid, tid] <= 2 * count


def test_gm_traffic_splits_into_tensors() -> None:
    profile = clean_profile()
    rows = {row["name"]: row for row in profile.timeline.raw["gm"]}
    assert sum(row["bytes_read"] for row in rows.values()) == profile.figures["gm_bytes_read"]
    assert sum(row["bytes_written"] for row in rows.values()) == profile.figures["gm_bytes_written"]
    tensors = ["k", "lse", "mask", "o", "q", "v", "workspace O", "workspace P", "workspace S"]
    assert sorted(rows) == tensors
    shape = profile.shape
    assert rows["o"]["bytes_written"] == 2 * shape.b * shape.s_q * shape.h_q * shape.d
    assert rows["lse"]["bytes_written"] == 4 * shape.b * shape.s_q * shape.h_q
    assert rows["q"]["bytes_written"] == rows["o"]["bytes_read"] == 0
    # What the cube core writes of S and O the vector cores read, and the other way round for P.
    for name in ("workspace S", "workspace P", "workspace O"):
        assert rows[name]["bytes_read"] == rows[name]["bytes_written"] > 0


def test_busy_and_stalls_add_up_to_the_kernel() -> None:
    raw = clean_profile().timeline.raw
    busy = np.asarray(raw["busy_cycles"]).reshape(-1, 3, 7)
    stalled: dict[tuple[str, int], float] = defaultdict(float)
    for stall in raw["stalls"]:
        stalled[stall["core_kind"], stall["pipe"]] += stall["cycles"]
    for kind, cores, pipes in (("aic", slice(0, 1), (2, 3, 4, 6)), ("aiv", slice(1, 3), (1, 4, 5))):
        for pipe in pipes:
            own = busy[:, cores, pipe]
            working = int((own > 0).sum())
            total = float(own.sum()) + stalled[kind, pipe]
            assert total == pytest.approx(working * raw["kernel_cycles"], rel=1e-3)


def test_a_hazard_is_marked_at_both_instructions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = hazardous_profile(monkeypatch)
    assert profile.figures["hazards"] > 0
    write_trace(profile, tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    marks = [event for event in events if event["ph"] == "i"]
    assert {event["name"] for event in marks} == {"HAZARD"}
    between = [event for event in marks if "between core groups" in event["args"]["text"]]
    assert {event["args"]["role"] for event in between} == {"its instructions are not shown"}
    within = [event for event in marks if event not in between]
    assert {event["args"]["role"].split()[1] for event in within} == {"later", "earlier"}
    for event in within:
        assert event["pid"] in {hazard["group"] for hazard in profile.timeline.raw["hazards"]}
        assert event["tid"] % 10 == 5  # MTE3, which stores both tensors
        assert "write-after-write in GM" in event["args"]["text"]


def test_canary_a_clean_run_has_no_mark(trace: dict[str, Any]) -> None:
    assert of_phase(trace, "i") == []


def test_a_limit_on_events_keeps_the_earliest() -> None:
    full, short = clean_profile().timeline, run_profile(max_events=500).timeline
    assert len(short.events["start"]) <= 500
    assert len(short.events["start"]) + short.raw["omitted_events"] == len(full.events["start"])
    assert max(short.events["start"]) < short.raw["until_cycles"]
    # Sums are over the whole run all the same; a call site's number depends on which thread met it first.
    unnumbered = [[{**stall, "site": None} for stall in run.raw["stalls"]] for run in (short, full)]
    assert sorted(map(str, unnumbered[0])) == sorted(map(str, unnumbered[1]))


def test_groups_choose_the_processes() -> None:
    chosen = run_profile([1, 0]).timeline.raw["cores"]
    assert sorted({core["group"] for core in chosen}) == [0, 1]
    with pytest.raises(ConfigError, match="no such core group"):
        run_profile([0, 99])


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.json"
    assert main.main(["trace", "smoke", "-o", str(path), "--groups", "0,1"]) == 0
    assert "simulated" in capsys.readouterr().out
    pids = {event["pid"] for event in json.loads(path.read_text())["traceEvents"] if event["ph"] == "X"}
    assert pids == {0, 1}
    assert main.main(["trace", "smoke", "-o", str(tmp_path / "none" / "trace.json")]) == 2
    assert "cannot write" in capsys.readouterr().err
