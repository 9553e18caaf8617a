"""Shape files with `allreduce`: run, plan and trace of all ranks, token blocks of a tiling file, fuzz problems."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastattention_npu import reference
from fastattention_npu.cli.main import main
from fastattention_npu.config import TilingConfig, load_shape, load_tiling, shape_from_dict
from fastattention_npu.dispatch import make_backend
from fastattention_npu.distributed.layer import plan_layer, run_layer
from fastattention_npu.errors import ArgumentError, ConfigError
from fastattention_npu.fuzz import judge, shrink
from fastattention_npu.fuzz.problems import fused_case

SHAPE = {"b": 1, "s_q": 100, "s_kv": 100, "h_q": 2, "h_kv": 1, "d": 16, "causal": True}
LAYER = SHAPE | {"allreduce": {"ranks": 2, "hidden": 72, "bias": True}}
TILING = {"block_dim": 2, "token_blocks": [40, 60], "tiles_per_step": 2}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    for name, values in (("layer", LAYER), ("tiling", TILING)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return str(tmp_path / "layer.yaml"), str(tmp_path / "tiling.yaml")


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_run_checks_all_ranks_and_takes_token_blocks(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    row = answer(capsys, "run", files[0], "--tiling", files[1])
    assert row["ok"]
    assert row["hazards"] == 0
    assert row["blocks"] == TILING["token_blocks"]
    assert row["tiles_per_step"] == 2
    assert row["block_dim"] == 2
    assert [task["bytes"] for task in row["tasks"]] == [40 * 72 * 2, 60 * 72 * 2]
    assert answer(capsys, "run", files[0])["blocks"] == [100]  # the planner cuts nothing so small
    assert main(["run", files[0]]) == 0
    assert "2 x ascend910b2, SIMULATED" in capsys.readouterr().out


def test_plan_says_what_run_does(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    row = answer(capsys, "plan", files[0], "--tiling", files[1])
    assert row["blocks"] == TILING["token_blocks"]
    assert row["figures"] == "modelled"
    assert row["model"]["pipelined_us"] > row["model"]["link_us"]
    assert main(["plan", files[0], "--tiling", files[1]]) == 0
    assert "token blocks 40+60" in capsys.readouterr().out


def test_trace_has_every_rank_and_the_links(files: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    assert main(["trace", files[0], "--tiling", files[1], "-o", str(path)]) == 0
    trace = json.loads(path.read_text())
    events = trace["traceEvents"]
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    for rank in range(2):
        assert sum(name.startswith(f"rank {rank}, core group ") for name in names.values()) == 2
    (links,) = (pid for pid, name in names.items() if name.startswith("links"))
    tasks = [event for event in events if event["pid"] == links and event["ph"] == "X"]
    assert [event["args"]["bytes"] for event in tasks] == [40 * 72 * 2, 60 * 72 * 2]
    assert tasks[0]["ts"] + tasks[0]["dur"] <= tasks[1]["ts"]
    assert max(event["ts"] + event.get("dur", 0) for event in events if "ts" in event) <= trace["otherData"]["time_us"]
    instructions = {event["pid"] // 10_000 for event in events if event.get("cat") == "instruction"}
    assert instructions == {0, 1}


def test_what_cannot_be_combined_is_refused(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"(?s)2 reasons.*softcap.*layout"):
        shape_from_dict(LAYER | {"softcap": 1.0, "layout": "bnsd"}, "a test")
    for wrong in ({"ranks": 9, "hidden": 8}, {"ranks": 2}, {"ranks": 2, "hidden": 8, "x": 1}, 3):
        with pytest.raises(ConfigError, match="allreduce"):
            shape_from_dict(SHAPE | {"allreduce": wrong}, "a test")
    assert main(["run", "smoke", "--tiling", files[1]]) == 2
    assert "only attention_linear_allreduce has token blocks" in capsys.readouterr().err
    assert main(["report", files[0]]) == 2
    assert main(["run", files[0], "--backend", "cpu"]) == 2


def test_a_tiling_file_of_attention_alone_is_refused_or_followed(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "attention.yaml"
    path.write_text(yaml.safe_dump({"schedule": 1, "interleave": 1}))
    assert main(["plan", files[0], "--tiling", str(path)]) == 2
    error = capsys.readouterr().err
    assert "schedule = 1: must be 3 for the fused AllReduce; leave this field out" in error
    assert "interleave = 1: must be 0" in error
    path.write_text(yaml.safe_dump({"block_kv": 512, "mask_block": 256}))
    assert main(["plan", files[0], "--tiling", str(path)]) == 2
    assert "mask_block = 256: must be at least" in capsys.readouterr().err
    path.write_text(yaml.safe_dump({"mask": "predicate", "schedule": 3}))
    assert main(["plan", files[0], "--tiling", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tile"]
    for fields, words in (
        ({"mask": "none"}, "mask = 'none'"),
        ({"mask": "full"}, "mask = full: must be tiling or predicate"),
        ({"block_p": 1, "ring": 1}, "(?s)2 reasons.*block_p.*ring = 1"),
        ({"block_q": 32, "l0_tile_q": 16, "l0_tile_kv": 16}, "left tile in l0a = 1024 B: must be at most 512 B"),
    ):
        with pytest.raises(ArgumentError, match=words):
            plan_layer(load_shape(files[0]), make_backend("sim", tiling=TilingConfig(fields, "a test")))


@pytest.mark.parametrize("wrong", [[], [40, 0], 40, [40, "60"], [True]])
def test_token_blocks_of_a_tiling_file_are_checked(wrong: Any, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump({"token_blocks": wrong}))
    with pytest.raises(ConfigError, match="token_blocks"):
        load_tiling(path)


def test_fuzz_problems_cover_the_kernel() -> None:
    cases = [fused_case(1, i) for i in range(200)]
    shapes = [case["shape"] for case in cases]
    assert {shape["allreduce"]["ranks"] for shape in shapes} == {1, 2, 3, 4, 8}
    assert {shape["allreduce"]["bias"] for shape in shapes} == {True, False}
    assert {shape["dtype"] for shape in shapes} == {"fp16", "bf16"}
    assert {shape["layout"] for shape in shapes} == {"bshd", "tnd"}
    assert any(shape["h_q"] > shape["h_kv"] for shape in shapes)
    assert max(len(case["tiling"].get("token_blocks", [])) for case in cases) > 3
    for case in cases:
        shape_from_dict(case["shape"], "a test")


def test_canary_a_wrong_reference_is_caught_and_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """References without the causal mask stand for a kernel that has it wrong."""
    for name in ("attention_float64", "attention_same_precision"):
        genuine = getattr(reference, name)
        monkeypatch.setattr(reference, name, lambda _genuine=genuine, **a: _genuine(**(a | {"causal": False})))
    monkeypatch.setattr(judge, "POOL_SEEDS", 0)
    shape = LAYER | {"s_q": 20, "s_kv": 20}
    failing = {"kind": "legal", "backend": "sim", "shape": shape, "seed": 7}
    failing |= {"tiling": {"block_dim": 2, "token_blocks": [4, 7, 9], "tiles_per_step": 2}}
    verdict = judge.judge(failing)
    assert verdict["how"] == "wrong result"
    small = shrink.shrink(failing, verdict, judge.judge)
    assert judge.judge(small)["how"] == "wrong result"
    assert small["tiling"] == {}
    assert small["shape"]["allreduce"] == {"ranks": 1, "hidden": 1, "bias": False}
    assert small["shape"]["s_q"] * small["shape"]["s_kv"] <= 6


def test_ranks_that_differ_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastattention_npu.distributed import layer

    genuine = layer.simulate_ranks

    def wrong(*args: Any, **options: Any) -> Any:
        result = genuine(*args, **options)
        result.outputs[1][0, 0, 0] += 1
        return result

    monkeypatch.setattr(layer, "simulate_ranks", wrong)
    with pytest.raises(Exception, match="ranks 0 and 1 have different results"):
        run_layer(shape_from_dict(LAYER, "a test"), make_backend("sim"))
