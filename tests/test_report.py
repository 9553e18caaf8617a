"""The report page: the numbers in it, the advice drawn from them, and the page itself in a real browser."""

import json
import os
import re
import shutil
import subprocess
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from profiles import clean_profile, hazardous_profile, run_profile

from fastattention_npu import report
from fastattention_npu.advice import advise, wait_chain
from fastattention_npu.cli import main
from fastattention_npu.report_data import decode_column

SECTIONS = ("advice", "timeline", "pipes", "load", "roofline", "gm", "memory", "stalls", "groups", "hazards")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
BROWSER_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--virtual-time-budget=5000",
)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: apt-get install chromium")


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return report.make_report(run_profile([0]))


class Page(HTMLParser):
    """Elements by id, with the text and the tags inside; what the page would load from elsewhere."""

    VOID = ("meta", "input", "br", "link", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.tags: dict[str, list[str]] = {}
        self.attributes: dict[str, dict[str, str | None]] = {}
        self.external: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.external += [str(found[key]) for key in ("src", "href") if found.get(key) and tag != "a"]
        if tag == "html":
            self.attributes["html"] = found
        for name in filter(None, self._open):
            self.tags[name].append(tag)
        if tag not in self.VOID:
            self._open.append(found.get("id") or "")
            self.tags.setdefault(self._open[-1], [])

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID and self._open:
            self._open.pop()

    def handle_data(self, text: str) -> None:
        for name in filter(None, self._open):
            self.texts[name] = self.texts.get(name, "") + text


def browse(address: str, folder: Path, *flags: str) -> str:
    command = [str(BROWSER), *BROWSER_FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, address]
    # A fresh home: the browser writes its caches there.
    environment = os.environ | {"HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment)
    return done.stdout


def rendered(page: Path, folder: Path) -> Page:
    folder.mkdir()
    return Page(browse(page.as_uri(), folder, "--dump-dom", "--window-size=1366,900"))


def test_the_page_needs_nothing_else_and_gives_its_numbers_back(data: dict[str, Any]) -> None:
    text = report.page(data)
    assert report.extract(text) == json.loads(json.dumps(data))
    assert Page(text).external == []
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", text)
    assert len(text) < 4_000_000


def test_text_of_a_run_cannot_end_the_script(data: dict[str, Any]) -> None:
    evil = "</script><script>alert(1)</script>"
    text = report.page({**data, "shape": {**data["shape"], "name": evil}})
    assert evil not in text
    assert report.extract(text)["shape"]["name"] == evil


def test_columns_are_the_timeline(data: dict[str, Any]) -> None:
    columns = {name: decode_column(entry) for name, entry in data["timeline"]["events"].items()}
    assert len({len(column) for column in columns.values()}) == 1
    raw = clean_profile().timeline
    own = np.isin(raw.events["core"], [i for i, core in enumerate(raw.raw["cores"]) if core["group"] == 0])
    assert len(columns["start"]) == own.sum()
    np.testing.assert_array_equal(np.sort(columns["start"]), np.sort(raw.events["start"][own]))
    assert columns["track"].max() < len(data["timeline"]["tracks"])
    assert columns["label"].max() < len(data["timeline"]["labels"])


def test_every_pipe_accounts_for_the_whole_run(data: dict[str, Any]) -> None:
    for row in data["pipes"]:
        assert sum(row["cycles"].values()) == pytest.approx(data["summary"]["cycles"], rel=1e-3)
        assert all(cycles >= 0 for cycles in row["cycles"].values())


def test_memories_hold_every_buffer_of_the_plan(data: dict[str, Any]) -> None:
    buffers = {(m["name"], b["name"]) for m in data["memories"] for b in m["buffers"]}
    assert buffers == {(b["memory"], b["name"]) for b in clean_profile().plan["buffers"]}
    assert {name for name, _ in buffers} == {"L1", "L0A", "L0B", "L0C", "UB", "workspace"}
    for memory in data["memories"]:
        ends = [0, *(b["end_bytes"] for b in memory["buffers"])]
        assert all(b["offset_bytes"] >= end for b, end in zip(memory["buffers"], ends, strict=False))
        assert memory["end_bytes"] <= memory["limit_bytes"]


def test_the_run_lies_under_its_roofs(data: dict[str, Any]) -> None:
    roofline, peak = data["roofline"], data["peak"]
    assert 0 < roofline["tflops"] <= peak["tflops"]
    for level in ("l2", "hbm"):
        flops = roofline[f"{level}_flops_per_byte"] * roofline[f"{level}_bytes"]
        assert flops == pytest.approx(data["summary"]["useful_flops"])


def fits(values: dict[str, int]) -> dict[str, Any]:
    return {"cycles": 1.0}


def titles(data: dict[str, Any]) -> str:
    return "\n".join(piece["title"] for piece in advise(data, fits))


def test_advice_follows_the_numbers(data: dict[str, Any]) -> None:
    changed = deepcopy(data)
    changed["summary"]["kernel_cycles"] = 0.5 * changed["summary"]["cycles"]
    assert "50% of the time is launch overhead" in titles(changed)
    changed["summary"]["kernel_cycles"] = 0.99 * changed["summary"]["cycles"]
    assert "launch overhead" not in titles(changed)
    changed["groups"][3]["finish_cycles"] = 2 * max(row["finish_cycles"] for row in data["groups"])
    assert "Core group 3 finishes" in titles(changed)
    changed["tiling"]["block_dim"] = 10
    assert "14 of 24 core groups have no work" in titles(changed)
    changed["hazards"] = [{"text": "write after write", "group": 0, "later_event": -1, "earlier_event": -1}]
    assert titles(changed).startswith("Repair 1 hazard before")


def test_a_full_pipe_is_named_as_the_bound(data: dict[str, Any]) -> None:
    changed = deepcopy(data)
    cycles = changed["pipes"][0]["cycles"]
    cycles.update(dict.fromkeys(cycles, 0.0), busy=0.95 * changed["summary"]["kernel_cycles"])
    piece = advise(changed, fits)[0]
    assert piece["title"].startswith("The kernel is bound by AIC MTE2: busy 95%")
    assert {"block_q": 2 * changed["tiling"]["block_q"]} in [trial["values"] for trial in piece["trials"]]


def test_waits_are_followed_to_their_cause(data: dict[str, Any]) -> None:
    changed = deepcopy(data)

    def stall(pipe: str, cause: str, setter: str = "", flag: int = 0) -> dict[str, Any]:
        return {"pipe": pipe, "cause": cause, "from": setter, "flag": flag, "cycles": 1e9, "text": "", "line": ""}

    changed["stalls"] = [stall("aic.M", "flag", "MTE1"), stall("aic.MTE1", "flag", "MTE2"),
                         stall("aic.MTE2", "cross_core", flag=1), stall("aiv.MTE3", "flag", "V"),
                         stall("aiv.V", "barrier")]  # fmt: skip
    chain = ["aic.M", "aic.MTE1", "aic.MTE2", "aiv.MTE3", "aiv.V"]
    assert wait_chain(changed, "aic.M") == (chain, False)
    changed["stalls"][-1] = stall("aiv.V", "cross_core", flag=0)
    changed["stalls"].append(stall("aic.FIX", "flag", "M"))
    assert wait_chain(changed, "aic.M") == ([*chain, "aic.FIX"], True)


def test_trials_are_the_tilers_own_answers(data: dict[str, Any]) -> None:
    trials = [trial for piece in data["advice"] for trial in piece["trials"]]
    assert trials
    assert all(("cycles" in trial) != ("refused" in trial) for trial in trials)


@needs_browser
def test_the_page_renders_without_a_script_error(data: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(report.page(data), encoding="utf-8")
    page = rendered(file, tmp_path / "dom")
    assert page.attributes["html"]["data-errors"] == "0", page.texts.get("script-errors")
    assert page.attributes["html"]["data-ready"] == "1"
    for section in SECTIONS:
        assert len(page.texts[section].strip()) > 40, section
    assert "canvas" in page.tags["timeline"]
    for section in ("pipes", "load", "roofline", "memory", "groups"):
        assert page.tags[section].count("svg") >= 1, section
    for word in ("L1", "L0A", "L0B", "L0C", "UB", "GM workspace"):
        assert word in page.texts["memory"]
    for word in ("workspace S", "mask", "lse"):
        assert word in page.texts["gm"]
    for word in ("HBM", "L2", "cube peak"):
        assert word in page.texts["roofline"]
    assert "SIMULATED" in "".join(page.texts.values()) or "simulated" in page.texts["figures"]
    shot = tmp_path / "shot.png"
    for theme in ("light", "dark"):
        folder = tmp_path / theme
        folder.mkdir()
        browse(f"{file.as_uri()}#{theme}", folder, f"--screenshot={shot}", "--window-size=1366,2600")
        assert shot.read_bytes().startswith(b"\x89PNG")
        assert shot.stat().st_size > 50_000  # an empty page is far smaller


# Finds a matrix product in view, hovers over it, clicks it, then zooms with the wheel.
USE_TIMELINE = """
const { events, canvas } = timelineView;
const row = events.tracks.findIndex((track) => track.pipe === 'M');
timelineView.show(...timelineView.full);
const first = events.byTrack[row].work[0];
timelineView.show(events.start(first) - 50, events.end(first) + 200);
const box = canvas.getBoundingClientRect();
const at = { clientX: box.left + timelineView.x((events.start(first) + events.end(first)) / 2),
  clientY: box.top + timelineView.rowTop[row] + 8, pointerId: 1, deltaY: -100, bubbles: true };
canvas.setPointerCapture = () => {};
canvas.dispatchEvent(new PointerEvent('pointermove', at));
document.documentElement.dataset.hover = document.getElementById('tip').textContent;
canvas.dispatchEvent(new PointerEvent('pointerdown', at));
canvas.dispatchEvent(new PointerEvent('pointerup', at));
const before = timelineView.view[1] - timelineView.view[0];
canvas.dispatchEvent(new WheelEvent('wheel', at));
document.documentElement.dataset.zoomed = (timelineView.view[1] - timelineView.view[0]) / before;
"""


@needs_browser
def test_the_timeline_names_what_is_under_the_pointer(data: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(report.page(data).replace("</body>", f"<script>{USE_TIMELINE}</script></body>"), encoding="utf-8")
    page = rendered(file, tmp_path / "dom")
    html = page.attributes["html"]
    assert html["data-errors"] == "0", page.texts.get("script-errors")
    for text in (html["data-hover"] or "", page.texts["picked"]):
        assert text.startswith("mad")
        assert re.search(r"Mmad at op_kernel/[\w/.]+:\d+", text)
    assert float(html["data-zoomed"] or 1) == pytest.approx(0.8)


@needs_browser
def test_hazards_are_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "report.html"
    report.write_report(hazardous_profile(monkeypatch, [0]), file)
    page = rendered(file, tmp_path / "dom")
    assert page.attributes["html"]["data-errors"] == "0"
    assert "write-after-write in GM" in page.texts["hazards"]
    assert "before anything else" in page.texts["advice"]


@needs_browser
def test_canary_a_script_error_is_seen(data: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(report.page({**data, "gm": None}), encoding="utf-8")
    page = rendered(file, tmp_path / "dom")
    assert page.attributes["html"]["data-errors"] == "1"
    assert "data-ready" not in page.attributes["html"]


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.html"
    assert main.main(["report", "smoke", "-o", str(path), "--tiling", "example_small"]) == 0
    assert "simulated" in capsys.readouterr().out
    assert report.extract(path.read_text(encoding="utf-8"))["tiling"]["block_q"] == 64
    assert main.main(["report", "smoke", "-o", str(tmp_path)]) == 2
    assert "cannot write" in capsys.readouterr().err
