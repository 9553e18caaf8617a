"""`fastattn tune`, the shipped tilings, and the benchmarks of tilings and prefill, on small problems."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from planning import CONFIGS, SOC

from fastattention_npu import _core, class_tuning, default_tilings, kernel_call, tuning
from fastattention_npu.cli import tune_classes
from fastattention_npu.cli.main import main
from fastattention_npu.config import ConfigError, SocConfig, load_soc, load_tiling
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
        assert set(fields) - set(changed) == set(tuning.FOLLOWERS.get(field, ()))
    assert names >= {
        "block_q",
        "preload",
        "strip_rows",
        "schedule",
        "interleave",
        "slice_q",
        "l0_tile_q",
        "l1_tile_v",
        "l1_tile_p",
    }


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


def test_fields_of_a_tiling_stay_while_the_others_are_searched() -> None:
    tuned = tuning.tune(SMALL, SOC, best=4, rounds=1, fixed={"s_exchange": "fp16", "strip_rows": 8})
    assert {c.fields["strip_rows"] for c in tuned.simulated} == {8}
    assert len({c.fields["block_kv"] for c in tuned.simulated}) > 1
    assert tuned.best.simulated == simulated(SMALL, {**tuned.best.fields, "s_exchange": "fp16"})


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


def cheapest_used(file: Path) -> dict[str, Any]:
    """Of the shapes that the file of a class says its tiling is used for, the one that is simulated fastest."""
    problems = class_tuning.classes()[file.stem]
    rows = yaml.safe_load(file.read_text())["tuned"]["shapes"]
    used = [p for p, row in zip(problems, rows, strict=True) if row["used"]]
    return min(used, key=class_tuning.pairs_of)


def gain_of_default(problem: dict[str, Any], soc: SocConfig) -> float:
    """Simulated cycles of op_host's own choice over those of the plan that a call gets."""
    values = soc.values()
    shipped, own = plan_problem(problem, soc), _core.plan(problem, values, {})
    return time_plan(problem, own, values)["cycles"] / time_plan(problem, shipped, values)["cycles"]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_shipped_tiling_is_used_and_not_slower_than_op_hosts_choice(file: Path) -> None:
    tuned = yaml.safe_load(file.read_text())["tuned"]
    assert (tuned["soc"], tuned["shape_class"]) == (file.parent.name, file.stem)
    assert tuned["commit"].isalnum(), "made with a commit, without changes beside it"
    fields = load_tiling(file).fields
    if not fields:
        assert tuned["gain"] == 1.0
        return
    problem, soc = cheapest_used(file), load_soc(tuned["soc"])
    plan = plan_problem(problem, soc)
    assert {name: plan["tiling"][name] for name in fields} == dict(fields), "the plan starts from it"
    assert plan["chosen_by"] == f"op_host from the shipped {soc.name}/{file.stem}"
    assert gain_of_default(problem, soc) >= 1.0


def test_a_shipped_tiling_is_used_within_its_bound_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where it does not fit, where the model thinks too ill of it, and for what was not simulated, op_host chooses."""
    soc = load_soc("ascend910b2")
    folder = tmp_path / "tiling" / soc.name
    folder.mkdir(parents=True)
    monkeypatch.setattr(default_tilings, "config_root", lambda: tmp_path)
    file = folder / f"{default_tilings.shape_class(SMALL)}.yaml"
    own = _core.plan(SMALL, soc.values(), {}) | {"chosen_by": "op_host"}

    def planned(text: str, **changes: Any) -> dict[str, Any]:
        default_tilings._load.cache_clear()
        kernel_call._plans.clear()
        file.write_text(text)
        return plan_problem(SMALL | changes, soc)

    slow = "block_q: 256\nblock_kv: 256\nstrip_rows: 8\n"
    used = planned("tuned: {modelled_over_own: 9.0}\n" + slow)
    assert used["tiling"]["block_q"] == 256
    assert used["chosen_by"] == "op_host from the shipped ascend910b2/d64_causal_1k_few"
    larger = SMALL | {"s_q": 1024, "s_kv": 1024, "h_q": 8, "h_kv": 8}
    assert default_tilings.shape_class(larger) == file.stem
    assert gain_of_default(larger, soc) < 0.9, "the test of the shipped files would notice"
    assert planned("tuned: {modelled_over_own: 1.0}\n" + slow) == own
    assert planned("block_kv: 1536\nstrip_rows: 64\n") == own
    assert planned("tuned: {gain: 1.0}\n") == own
    free = "tuned: {modelled_over_own: 9.0}\n" + slow
    assert planned(free, softcap=5.0)["tiling"]["block_q"] < 256
    assert planned(free, s_q=1)["tiling"] == _core.plan(SMALL | {"s_q": 1}, soc.values(), {})["tiling"]
    default_tilings._load.cache_clear()
    kernel_call._plans.clear()


def test_the_class_search_ships_only_what_is_never_slower() -> None:
    problems = [class_tuning.problem_of(s, heads, heads, 64, True) for s, heads in ((256, 4), (512, 2))]
    one, many = (class_tuning.tune_class(problems, SOC, workers, best=3, rounds=1) for workers in (1, 4))
    assert one == many
    assert one.gain >= 1
    for shape in one.shapes:
        assert shape.gain(one.bound) >= 1
        used = shape.used(one.bound)
        assert used.simulated == simulated(dict(shape.problem), one.fields if used is not shape.own else {})


def test_every_class_has_shapes_of_its_own() -> None:
    known = class_tuning.classes()
    assert len(known) == len(class_tuning.SHAPES) * len(class_tuning.DIMS) * len(class_tuning.MASKS)
    for name, problems in known.items():
        assert len(problems) >= class_tuning.LEAST_USED
        assert {default_tilings.shape_class(problem) for problem in problems} == {name}
        assert all(default_tilings.is_plain(problem) for problem in problems)


def test_tune_all_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    problems = [class_tuning.problem_of(256, heads, heads, 64, True) for heads in (1, 2)]
    monkeypatch.setattr(tune_classes, "classes", lambda: {"d64_causal_1k_few": problems})
    monkeypatch.setattr(tune_classes.tuning, "commit_of_checkout", lambda: "abc1234")
    monkeypatch.setattr(tune_classes, "tune_class", lambda *a, **_: class_tuning.tune_class(*a[:3], best=2, rounds=0))
    command = ["tune", "--all", "-o", str(tmp_path / "new" / "folder"), "--threads", "2"]
    assert main(command) == 0
    (file,) = (tmp_path / "new" / "folder").glob("*.yaml")
    tuned = yaml.safe_load(file.read_text())["tuned"]
    assert (tuned["shape_class"], tuned["soc"], tuned["commit"]) == ("d64_causal_1k_few", "ascend910b2", "abc1234")
    assert len(tuned["shapes"]) == 2
    load_tiling(file)
    assert "simulations" in capsys.readouterr().out
    assert main(command) == 0
    assert "stands already, made with abc1234" in capsys.readouterr().out
    assert main([*command, "--again"]) == 0
    assert "stands already" not in capsys.readouterr().out
    monkeypatch.setattr(tune_classes.tuning, "commit_of_checkout", lambda: "abc1234+")
    assert main(command) == 0
    assert "stands already" not in capsys.readouterr().out


def test_what_ships_for_other_classes_is_judged_too() -> None:
    problems = [class_tuning.problem_of(1024, heads, heads, 64, True) for heads in (4, 6)]
    other = {"block_q": 128, "block_kv": 256, "preload": 1, "ring": 2, "strip_rows": 24}
    without, beside = (class_tuning.tune_class(problems, SOC, known=[], also=also) for also in ([], [other]))
    assert beside.simulated == without.simulated + len(problems)
    shipped = tune_classes.shipped_tilings("ascend910b2")
    assert set(shipped) == set(class_tuning.DIMS)
    assert any(fields["block_kv"] == 512 for fields in shipped[64])
    assert not any(tune_classes.shipped_tilings("no such soc").values())


def test_tune_all_like_another_soc_judges_its_tilings_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = [class_tuning.problem_of(1024, heads, heads, 64, True) for heads in (4, 6)]
    monkeypatch.setattr(tune_classes, "classes", lambda: {"d64_causal_1k_few": problems})
    monkeypatch.setattr(tune_classes, "config_root", lambda: tmp_path)
    command = ["tune", "--all", "--soc", "ascend910b3", "--like", "ascend910b2"]
    assert main(command) == 2
    assert "fastattn tune --all --soc ascend910b2 --classes d64_causal_1k_few" in capsys.readouterr().err
    other = tmp_path / "tiling" / "ascend910b2" / "d64_causal_1k_few.yaml"
    other.parent.mkdir(parents=True)
    other.write_text("block_q: 16\nblock_kv: 256\nstrip_rows: 8\n")
    assert main(command) == 0
    file = tmp_path / "tiling" / "ascend910b3" / "d64_causal_1k_few.yaml"
    tuned = yaml.safe_load(file.read_text())["tuned"]
    assert (tuned["soc"], tuned["searched_on"], tuned["simulated_tilings"]) == ("ascend910b3", "ascend910b2", 4)
    assert not load_tiling(file).fields, "it is slower there, so op_host's own choice stays"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["smoke", "--all"], ["SHAPE.yaml = smoke", "left out with --all"]),
        ([], ["SHAPE.yaml = missing", "--output = missing"]),
        (["smoke", "-o", "x.yaml", "--again"], ["--again"]),
        (["--all", "--classes", "d64_casual_1k_few"], ["did you mean d64_causal_1k_few?"]),
    ],
)
def test_tune_refuses_what_makes_no_sense(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", *arguments]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words), error


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
