"""`fastattn bench ports`: its terms, and both forms of output."""

import json
from pathlib import Path

import numpy as np
import pytest

from fastattention_npu.bench import ports
from fastattention_npu.cli.main import main
from fastattention_npu.config import load_soc, load_tiling
from fastattention_npu.kernel_call import plan_problem
from fastattention_npu.sim.timing import time_plan

SMALL = ["--d", "64", "--s", "512", "--heads", "2"]


def test_bytes_are_spread_over_their_copies() -> None:
    events = {"gm_bytes": [100, 0, 60], "start": [0.0, 5.0, 20.0], "end": [10.0, 6.0, 20.0]}
    moved = [ports.moved_before(events, cycle) for cycle in (0, 5, 15, 20, 21, np.inf)]
    assert moved == [0, 50, 100, 100, 160, 160]


def test_terms_are_all_of_the_time_and_all_of_the_bytes() -> None:
    soc = load_soc("ascend910b2")
    terms = ports.terms(soc, 64, 512, 2)
    assert sum(terms[name] for name in ports.TERMS[:-1]) == pytest.approx(terms["simulated"])
    problem = {"b": 1, "s_q": 512, "s_kv": 512, "h_q": 2, "h_kv": 2, "d": 64, "dtype": "fp16", "layout": "bshd"}
    problem |= {"causal": True}
    report = time_plan(problem, plan_problem(problem, soc, None), soc.values())
    assert terms["simulated"] == report["cycles"]
    moved = report["gm_bytes_read"] + report["gm_bytes_written"]
    assert terms["bytes"] * 7000e3 / 1800 == pytest.approx(moved)


def test_text_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "ports", *SMALL]) == 0
    assert "cycles simulated" in capsys.readouterr().out
    assert main(["bench", "ports", *SMALL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cycles_are"] == "simulated"


def test_a_tiling_replaces_the_plan_of_a_call(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "short.yaml"
    file.write_text("block_q: 16\n")
    assert main(["bench", "ports", *SMALL, "--tiling", str(file), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    soc = load_soc("ascend910b2")
    assert {name: row[name] for name in ports.TERMS} == ports.terms(soc, 64, 512, 2, tiling=load_tiling(file))
    assert row["bytes"] > ports.terms(soc, 64, 512, 2)["bytes"]


def test_what_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="go together"):
        main(["bench", "ports", "--d", "64"])
    monkeypatch.setattr(ports, "MOST_EVENTS", 1000)
    with pytest.raises(SystemExit, match="more than 1000 events"):
        main(["bench", "ports", *SMALL])
