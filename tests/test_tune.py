"""`fastattn tune`, the shipped tilings, and the benchmarks of tilings and prefill, on small problems."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from planning import CONFIGS, SOC

from fastattention_npu import _core, default_tilings, tuning
from fastattention_npu.cli.main import main
from fastattention_npu.config import ConfigError, load_soc, load_tiling
from fastattention_npu.sim import plan_problem
from fastattention_npu.sim.timing import time_plan

SMALL = {"b": 1, "s_q": 256, "s_kv": 512, "h_q": 2, "h_kv": 2, "d": 64, "dtype": "fp16", "causal": True}
SHAPE = SMALL | {"layout": "BSND"}
SHIPPED = sorted((CONFIGS / "tiling").glob("*/*.yaml"))


def simulated(problem: dict[str, Any], fields: Any) -> float:
    return time_plan(problem, _core.plan(problem, SOC, dict(fields)), SOC)["cycles"]


def test_tuning_is_deterministic_and_never_worse_than_the_start() -> None:
    one = tuning.tune(SMALL, SOC, workers=1, best=4, rounds=1)
    many = tuning.tune(SMALL, SOC, workers=4, best=4, rounds=1)
    assert one == many
    assert one.best.simulated == min(c.simulated for c in one.simulated) <= one.start.simulated
    assert one.best.simulated == simulated(SMALL, one.best.fields)
    assert one.start.fields == tuning.fields_of(_core.plan(SMALL, SOC, {})["tiling"])


def test_candidates_come_in_the_order_of_their_modelled_cost() -> None:
    rows = _core.candidates(SMALL, SOC, {"block_kv": 256})
    costs = [row["cycles"] for row in rows]
    assert len(rows) > 4
    assert costs == sorted(costs)
    assert {row["tiling"]["block_kv"] for row in rows} == {256}
    fields = tuning.fields_of(rows[0]["tiling"])
    assert _core.plan(SMALL, SOC, fields)["model"]["cycles"] == costs[0]


def test_neighbours_differ_in_the_choice_they_name() -> None:
    fields = tuning.fields_of(_core.plan(SMALL, SOC, {})["tiling"])
    names = set()
    for name, changed in tuning.neighbours(fields):
        field = name.split()[0]
        names.add(field)
        assert name == f"{field} {fields[field]} -> {changed[field]}"
        assert changed != fields
    assert names >= {"block_q", "preload", "strip_rows", "schedule"}


def test_tune_writes_a_file_that_tiling_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape, out = tmp_path / "shape.yaml", tmp_path / "tiling.yaml"
    shape.write_text(yaml.safe_dump(SHAPE))
    assert main(["tune", str(shape), "-o", str(out), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    tuned = yaml.safe_load(out.read_text())["tuned"]
    assert answer["figures"] == "simulated"
    assert tuned["shape_class"] == "d64_causal_1k_few"
    assert tuned["soc"] == "ascend910b2"
    assert tuned["simulated_cycles"] <= tuned["simulated_cycles_before"]
    assert {"commit", "modelled_cycles", "shape", "simulated_tilings"} <= set(tuned)
    fields = load_tiling(out).fields
    assert fields == answer["tiling"]
    assert round(simulated(SMALL, fields)) == tuned["simulated_cycles"]
    assert main(["plan", str(shape), "--tiling", str(out), "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)["tiling"]
    assert {name: planned[name] for name in fields} == dict(fields)


def test_what_cannot_be_tuned_is_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = tmp_path / "shape.yaml"
    shape.write_text(yaml.safe_dump(SHAPE | {"d": 300}))
    assert main(["tune", str(shape), "-o", str(tmp_path / "out.yaml")]) == 2
    assert str(shape) in capsys.readouterr().err
    shape.write_text(yaml.safe_dump(SHAPE | {"seqused_k": [300], "sinks": True}))
    assert main(["tune", str(shape), "-o", str(tmp_path / "out.yaml")]) == 2
    error = capsys.readouterr().err
    assert "seqused_k" in error
    assert "sinks" in error
    assert not (tmp_path / "out.yaml").exists()
    tiling = tmp_path / "tiling.yaml"
    tiling.write_text("tuned: 5\nblock_q: 64\n")
    with pytest.raises(ConfigError, match="tuned"):
        load_tiling(tiling)


def test_shipped_tilings_are_what_their_names_say() -> None:
    for file in SHIPPED:
        tuned = yaml.safe_load(file.read_text())["tuned"]
        assert (tuned["soc"], tuned["shape_class"]) == (file.parent.name, file.stem)
        assert default_tilings.shape_class(tuned["shape"]) == file.stem
        plan = plan_problem(tuned["shape"], load_soc(tuned["soc"]))
        fields = load_tiling(file).fields
        assert {name: plan["tiling"][name] for name in fields} == dict(fields), "the plan starts from it"


def test_a_shipped_tiling_that_does_not_fit_leaves_the_choice_to_op_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    soc = load_soc("ascend910b2")
    folder = tmp_path / "tiling" / soc.name
    folder.mkdir(parents=True)
    monkeypatch.setattr(default_tilings, "config_root", lambda: tmp_path)
    file = folder / f"{default_tilings.shape_class(SMALL)}.yaml"
    file.write_text("block_kv: 256\nstrip_rows: 16\n")
    assert plan_problem(SMALL, soc)["tiling"]["strip_rows"] == 16
    default_tilings._load.cache_clear()
    file.write_text("block_kv: 1536\nstrip_rows: 64\n")
    assert plan_problem(SMALL, soc) == _core.plan(SMALL, soc.values(), {})
    default_tilings._load.cache_clear()


@pytest.mark.parametrize("name", ["prefill", "tiling"])
def test_quick_benchmarks_say_that_they_are_simulated(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", name, "--quick", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["figures"] == "simulated"
    rows = answer["rows"]
    assert rows
    if name == "prefill":
        assert all(row["efficiency"] < 1 and row["over_standard"] > 1 for row in rows)
        assert {(row["d"], row["causal"]) for row in rows} == {(64, False), (64, True), (128, False), (128, True)}
    else:
        assert [row["over_plan"] for row in rows if row["choice"] == "plan"] == [1.0]
        assert all(row["cycles"] or row["reasons"] for row in rows), "what does not fit says why"


def test_tables_are_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "tiling", "--quick", "--d", "64"]) == 0
    text = capsys.readouterr().out
    assert "simulated" in text
    assert "| unified |" in text
    assert "| public_schedule |" in text
