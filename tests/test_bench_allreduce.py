"""fastattn bench allreduce: the published case, and what a row says."""

import json

import pytest

from fastattention_npu._native import core
from fastattention_npu.bench import allreduce
from fastattention_npu.cli.main import main
from fastattention_npu.soc_config import load_soc


def test_published_case_within_ten_percent() -> None:
    ours = allreduce.published()
    for name, value in allreduce.PUBLISHED.items():
        assert ours[name] == pytest.approx(value, rel=0.10)
    assert ours["pipelined_us"] < ours["sequential_us"]


def test_links_of_fewer_ranks_carry_more_each() -> None:
    soc = load_soc("ascend910b2").values()
    eight, two = (core().all_reduce_us(soc, ranks, 64 * 2.0**20) for ranks in (8, 2))
    assert eight == pytest.approx(13.58491263 * 64 + 61.508333)
    assert two == pytest.approx(4 * 13.58491263 * 64 + 61.508333)
    assert core().all_reduce_us(soc, 1, 2.0**20) == 0


def test_rows_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "allreduce", "--layers", "llama2-70b", "--lengths", "1024", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    (row,) = answer["rows"]
    assert answer["kind"] == "simulated"
    assert sum(row["blocks"]) == row["tokens"] == 1024
    assert row["sequential_us"] == pytest.approx(row["compute_us"] + row["link_us"])
    assert max(row["compute_us"], row["link_us"]) <= row["pipelined_us"] <= row["sequential_us"] * 1.001
    assert 0 <= row["hidden"] <= 1
