"""Token blocks tuned by simulation: the search, the files that ship, and where they are used."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from planning import CONFIGS

from fastattention_npu import default_tilings
from fastattention_npu.cli import tune_layers
from fastattention_npu.cli.main import main
from fastattention_npu.config import TilingConfig, load_soc, load_tiling, shape_from_dict
from fastattention_npu.distributed import block_tuning
from fastattention_npu.distributed.block_tuning import layer_run, timed, tune_blocks
from fastattention_npu.distributed.simulated import RankInputs, plan_ranks

SIZES = {"b": 1, "s_q": 2048, "s_kv": 2048, "h_q": 8, "h_kv": 1, "d": 128, "causal": True}
LAYER = SIZES | {"allreduce": {"ranks": 8, "hidden": 8192}}
NAME = "r8_hidden8192_h8_kv1_d128_causal_s2048"
SOC = load_soc("ascend910b2")
SHIPPED = sorted((CONFIGS / "tiling").glob("*/allreduce/*.yaml"))
SLOW = bool(os.environ.get("FASTATTN_TEST_SLOW"))


@pytest.fixture
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_tuning, "PASSES", 1)


def made_up(best: tuple[int, ...], refused: Sequence[int] = ()) -> block_tuning.Run:
    """A layer whose time is the distance of its boundaries to those of `best`; op_host's choice is 512+1536."""
    link = {"switch_bytes": 0.0, "small_us_per_byte": 0.0, "small_bend_us_per_byte2": 0.0, "small_us": 0.0}
    problem = {"tokens": 2048, "granule": 128, "compute_us": [20.0 * (i + 1) for i in range(16)]}
    problem |= {"lag_us_per_token": 0.0, "block_us": 1.0, "bytes_per_token": 1.0, "slowdown": 1.15}
    problem |= {"link": link | {"large_us_per_byte": 0.15, "large_us": 10.0}}

    def run(blocks: Sequence[int] | None, tiles_per_step: int | None) -> Any:
        chosen, tiles = tuple(blocks or (512, 1536)), tiles_per_step or 8
        if chosen == tuple(refused):
            raise ValueError("no plan")
        far = sum(abs(a - b) for a, b in zip(chosen, best, strict=False)) + 500 * abs(len(chosen) - len(best))
        figures = {
            "time_us": 600.0 + far / 10 + abs(tiles - 4),
            "compute_us": 300.0,
            "link_us": 320.0,
            "overlap_us": 240.0,
        }
        plan = {"blocks": list(chosen), "tiles_per_step": tiles, "block_problem": problem, "launch_us": 5.0}
        return SimpleNamespace(figures=figures, plan=plan)

    return run


@pytest.mark.parametrize("best", [(1024, 1024), (384, 1664), (2048,)], ids=str)
def test_the_search_finds_boundaries_and_tiles(best: tuple[int, ...]) -> None:
    tuned = tune_blocks(made_up(best))
    assert (tuned.best.blocks, tuned.best.tiles_per_step) == (best, 4)
    assert tuned.best == tuned.simulated[0]
    assert tuned.start.blocks == (512, 1536)
    assert tuned.best.hidden == 240 / 300
    assert tune_blocks(made_up(best), workers=4) == tuned


def test_what_is_fixed_stays_and_what_is_refused_is_left_out() -> None:
    tuned = tune_blocks(made_up((1024, 1024)), fixed=["token_blocks"])
    assert {one.blocks for one in tuned.simulated} == {(512, 1536)}
    assert tuned.best.tiles_per_step == 4
    tuned = tune_blocks(made_up((1024, 1024)), fixed=["tiles_per_step"])
    assert {one.tiles_per_step for one in tuned.simulated} == {8}
    assert tuned.best.blocks == (1024, 1024)
    tuned = tune_blocks(made_up((1024, 1024), refused=(1024, 1024)))
    assert (1024, 1024) not in [one.blocks for one in tuned.simulated]


def test_no_gain_leaves_op_hosts_choice() -> None:
    run = made_up((512, 1536))
    own = run((512, 1536), 4)
    tuned = tune_blocks(lambda blocks, tiles: own if tiles is None else run(blocks, tiles))
    assert tuned.best is tuned.start
    assert tuned.best.time_us <= tuned.simulated[0].time_us


@pytest.mark.usefixtures("short_search")
def test_tune_of_a_layer_writes_what_run_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape, out = tmp_path / "shape.yaml", tmp_path / "tiling.yaml"
    shape.write_text(yaml.safe_dump(LAYER))
    assert main(["tune", str(shape), "-o", str(out), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    tuned = yaml.safe_load(out.read_text())["tuned"]
    assert (answer["figures"], tuned["layer_class"], tuned["soc"]) == ("simulated", NAME, SOC.name)
    assert tuned["simulated_us"] <= tuned["simulated_us_before"] < tuned["sequential_us"]
    tiling = load_tiling(out)
    assert answer["tiling"] == dict(tiling.fused) == {key: answer["tiling"][key] for key in tiling.fused}
    again = timed(layer_run(shape_from_dict(LAYER, "a test"), SOC, tiling)(None, None))
    assert round(again.time_us, 1) == tuned["simulated_us"]
    assert list(again.blocks) == answer["tiling"]["token_blocks"]
    assert main(["plan", str(shape), "--tiling", str(out)]) == 0
    assert f"chosen by op_host from {out}" in capsys.readouterr().out


@pytest.mark.usefixtures("short_search")
def test_tune_layers_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SIZES | {"s_q": 512, "s_kv": 512, "d": 64, "allreduce": {"ranks": 8, "hidden": 1024}}
    shape = shape_from_dict(small, "a test")
    name = tune_layers.class_of(shape)
    monkeypatch.setattr(tune_layers, "shipped_layers", lambda: {name: shape})
    monkeypatch.setattr(tune_layers.tuning, "commit_of_checkout", lambda: "abc1234")
    command = ["tune", "--layers", "-o", str(tmp_path)]
    assert main(command) == 0
    assert "1.000x the sequential form" in capsys.readouterr().out
    file = tmp_path / f"{name}.yaml"
    assert not load_tiling(file).fused, "nothing gains, so op_host keeps choosing"
    assert main(command) == 0
    assert "stands already, made with abc1234" in capsys.readouterr().out
    assert main([*command, "--classes", "r9*"]) == 2
    assert f"one of {name}" in capsys.readouterr().err


def planned(**changes: Any) -> dict[str, Any]:
    """op_host's plan of the layer, or of one that differs in what a call of plan_ranks says."""
    call = {"causal": True, "count": 8, "soc": SOC, "tokens": 2048, "kv_heads": 1, "packed": False} | changes
    tokens, kv_heads, packed = (call.pop(name) for name in ("tokens", "kv_heads", "packed"))
    size = (tokens,) if packed else (1, tokens)
    q, k = (torch.empty(*size, h, 128, dtype=torch.float16, device="meta") for h in (8, kv_heads))
    ranks = [RankInputs(q, k, k, torch.empty(8192, 8 * 128, dtype=torch.float16, device="meta"))]
    return plan_ranks(ranks, call.pop("bias", None), **call)[0]


def test_shipped_blocks_are_used_for_their_own_layer_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(default_tilings, "config_root", lambda: tmp_path)
    file = default_tilings.layer_folder(SOC.name) / f"{NAME}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("token_blocks: [1000, 1048]\ntiles_per_step: 3\n")
    default_tilings._load_layer.cache_clear()
    plan = planned()
    assert (plan["blocks"], plan["tiles_per_step"]) == ([1000, 1048], 3)
    assert plan["chosen_by"] == f"op_host from the shipped ascend910b2/allreduce/{NAME}"
    others = [{"causal": False}, {"count": 4}, {"tokens": 2049}, {"kv_heads": 2}, {"window": (100, 0)}]
    others += [{"bias": torch.zeros(8192)}]
    others += [{"soc": load_soc("ascend910b3")}, {"blocks": [2048]}, {"tiles_per_step": 5}, {"tiling": TilingConfig()}]
    for changes in others:
        plan = planned(**changes)
        assert plan["chosen_by"] == "op_host", changes
        assert plan["blocks"] != [1000, 1048], changes
        assert plan["tiles_per_step"] != 3, changes
    default_tilings._load_layer.cache_clear()
    lengths = torch.tensor([0, 2048], dtype=torch.int32)
    packed = {"cu_seqlens_q": lengths, "max_seqlen_q": 2048, "max_seqlen_k": 2048}
    assert planned(packed=True, **packed)["blocks"] == [1000, 1048], "one packed sequence is the same layer"
    lengths = torch.tensor([0, 1024, 2048], dtype=torch.int32)
    two = {"cu_seqlens_q": lengths, "max_seqlen_q": 1024, "max_seqlen_k": 1024}
    assert planned(packed=True, **two)["chosen_by"] == "op_host"
    default_tilings._load_layer.cache_clear()
    file.write_text("tuned: {layer_class: none}\n")
    assert planned()["chosen_by"] == "op_host"
    default_tilings._load_layer.cache_clear()


def test_every_layer_that_ships_has_a_file() -> None:
    assert {file.stem for file in SHIPPED if file.parts[-3] == "ascend910b2"} == set(tune_layers.shipped_layers())


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_shipped_blocks_are_used_and_not_slower_than_op_hosts(file: Path) -> None:
    tuned = yaml.safe_load(file.read_text())["tuned"]
    shape, soc = tune_layers.shipped_layers()[file.stem], load_soc(file.parts[-3])
    assert (tuned["layer_class"], tuned["soc"]) == (file.stem, soc.name)
    assert tuned["commit"].isalnum(), "made with a commit, without changes beside it"
    fused = load_tiling(file).fused
    if not fused:
        assert tuned["simulated_us"] >= tuned["simulated_us_before"] / tune_layers.GAIN
        return
    shipped = default_tilings.default_layer_tiling(file.stem, soc.name)
    assert shipped is not None
    assert shipped.fused == fused
    assert sum(fused["token_blocks"]) == shape.s_q
    if shape.s_q > 8192 and not SLOW:
        return  # seconds for each simulation
    run = layer_run(shape, soc, None)
    own, used = timed(run(None, None)), timed(run(fused["token_blocks"], fused["tiles_per_step"]))
    assert used.time_us <= own.time_us
    assert used.hidden >= 0.9 or shape.s_q < 8192


def test_what_ships_hides_enough_where_that_gains() -> None:
    start = block_tuning.Timed(100.0, (2048,), 4, 0.5)
    fastest, hides = (block_tuning.Timed(us, (1024, 1024), 4, hidden) for us, hidden in ((90.0, 0.89), (95.0, 0.91)))
    hides_too_slow = block_tuning.Timed(99.9, (1024, 1024), 4, 0.95)
    ranked = (fastest, hides, hides_too_slow, start)
    assert tune_layers.to_ship(block_tuning.TunedBlocks(fastest, start, start, ranked)) == hides
    assert tune_layers.to_ship(block_tuning.TunedBlocks(fastest, start, start, (fastest, *ranked[2:]))) == fastest
