"""The calibration bench: its rows hold, its sums are right, and a wrong constant makes the claim fail."""

import argparse
import json

import pytest

from fastattention_npu.bench import calibration
from fastattention_npu.bench.calibration_rows import ROWS, Row
from fastattention_npu.soc_config import load_soc

FAST = [row for row in ROWS if row.group in ("vector", "stream") or row.name.startswith(("8 Mmads", "attention 128 "))]


def outcome(published: float, simulated: float, group: str = "copy", fits: tuple[str, ...] = ()) -> calibration.Outcome:
    row = Row("row", group, "copy_bench", published, "us", "test", "total", {}, fits=fits)
    return calibration.Outcome(row, simulated, "aiv.mte2")


@pytest.mark.parametrize("row", FAST, ids=lambda row: row.name)
def test_row_is_within_the_worst_error(row: Row) -> None:
    assert abs(calibration.simulate(row).error) <= calibration.MICRO_WORST


def test_the_whole_claim_holds(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    calibration.add_arguments(parser)
    assert calibration.run(parser.parse_args(["--json"])) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"]
    assert len(answer["rows"]) == len(ROWS)
    assert answer["held_out"]["micro"]["rows"] >= 20
    assert answer["held_out"]["micro"]["geometric_mean_error"] <= calibration.MICRO_AIM


@pytest.mark.parametrize(
    ("constant", "factor"),
    [("shared.hbm_gbps", 0.6), ("vector.simple_cycles", 2.0), ("mte2.head_cycles", 4.0), ("cube.fractal_cycles", 1.4)],
)
def test_a_wrong_constant_breaks_the_claim(constant: str, factor: float) -> None:
    rows = [row for row in ROWS if row.group != "attention" and "staggered" not in row.name]
    value = load_soc("ascend910b1")[constant]
    answer = calibration.summary([calibration.simulate(row, {constant: value * factor}) for row in rows])
    assert not answer["ok"], constant


def test_geometric_mean_counts_over_and_under_alike() -> None:
    assert calibration.geometric_mean_error([outcome(100, 125), outcome(125, 100)]) == pytest.approx(0.25)
    assert calibration.geometric_mean_error([]) == 0


def test_rows_kept_out_of_the_fit_are_counted_apart() -> None:
    answer = calibration.summary([outcome(100, 100, fits=("mte2.head_cycles",)), outcome(100, 110)])
    assert answer["held_out"]["micro"] == {"rows": 1, "geometric_mean_error": pytest.approx(0.1)}
    assert answer["fitted_constants"] == ["mte2.head_cycles"]


def test_one_row_out_of_bounds_fails_the_claim() -> None:
    good = [outcome(100, 101) for _ in range(50)]
    assert calibration.summary(good)["ok"]
    assert not calibration.summary([*good, outcome(100, 140)])["ok"]
    assert not calibration.summary([*good, outcome(100, 130, group="attention")])["ok"]


def test_fitted_constants_exist() -> None:
    constants = load_soc("ascend910b1").constants
    for row in ROWS:
        assert set(row.fits) <= set(constants), row.name
        assert row.source
