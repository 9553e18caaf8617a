"""`fastattn bench prefill --check`: right plans pass, and what it is there to find is an error."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from fastattention_npu.bench import prefill, prefill_check
from fastattention_npu.cli.main import main
from fastattention_npu.reference import attention_float64

CASE = prefill.Case(300, 64, 2, True)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefill, "cases", lambda quick: iter([CASE]))


def test_every_plan_of_a_row_is_compared(short: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "prefill", "--check", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["figures"] == "simulated"
    assert [row["plan"] for row in answer["rows"]] == ["chosen", "unified", "public_schedule"]
    assert {row["rows"] for row in answer["rows"]} == {600}


@pytest.mark.parametrize("what", ["result", "hazard", "plan"])
def test_canary_what_is_wrong_is_said(
    what: str, short: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    genuine = prefill_check.launch_flash_attention

    def wrong(*arguments: Any) -> Any:
        done = genuine(*arguments)
        if what == "result":
            done.outputs[0][0, 40:56, 1] *= 1.1
        found = {"hazards": 1, "hazard_texts": ["a race"]} if what == "hazard" else {}
        other = {"tiling_bytes": b""} if what == "plan" else {}
        report = replace(done.report, figures={**done.report.figures, **found}, plan={**done.report.plan, **other})
        return replace(done, report=report)

    monkeypatch.setattr(prefill_check, "launch_flash_attention", wrong)
    monkeypatch.setattr(prefill_check, "MOST_SCORES", 300 * 300 * 2 // 16)
    assert main(["bench", "prefill", "--check"]) == 1
    words = {"result": "out: largest absolute error", "hazard": "1 hazards, the first: a race", "plan": "another plan"}
    assert capsys.readouterr().out.count(words[what]) == 3


def test_sampled_rows_hold_one_of_each_run() -> None:
    rows = prefill_check.sampled_rows(16384, 16384, 1)
    assert set((rows // 64).tolist()) == set(range(256))
    assert {0, 16383} <= set(rows.tolist())
    data = prefill_check.CheckedInputs(CASE.problem())
    out, lse = attention_float64(data.q, data.k, data.v, causal=True, layout="bshd")
    assert torch.equal(data.rows, torch.arange(300))
    torch.testing.assert_close(data.exact, (out, lse))
