"""The search for the least time of token blocks is complete, and agrees with op_host's model, as do its terms."""

import itertools
import json
import math
import random
from collections.abc import Iterator
from typing import Any

import pytest

from fastattention_npu._native import core
from fastattention_npu.bench.allreduce_bound import needed, speedup, terms
from fastattention_npu.cli.main import main
from fastattention_npu.distributed.block_model import Problem, least, near_least

GRANULE = 128


def small_problem(seed: int) -> dict[str, Any]:
    """Up to nine granules, the last one short; computing and links of about the same time; lines with and without a
    bend."""
    r = random.Random(seed)
    granules = r.randint(1, 9)
    steps = [r.uniform(1, 40) for _ in range(granules)]
    return {
        "tokens": granules * GRANULE - r.choice([0, 0, 37]),
        "granule": GRANULE,
        "compute_us": list(itertools.accumulate(steps)),
        "lag_us_per_token": r.choice([0.0, 0.05]),
        "block_us": r.choice([0.0, 3.0]),
        "bytes_per_token": 1.0,
        "slowdown": r.choice([1.0, 1.15, 1.4]),
        "link": {
            "switch_bytes": r.choice([0.0, 300.0]),
            "small_us_per_byte": 0.2,
            "small_bend_us_per_byte2": 0.0001,
            "small_us": 4.0,
            "large_us_per_byte": r.uniform(0.05, 0.2),
            "large_us": r.uniform(5, 30),
        },
    }


def every_schedule(tokens: int) -> Iterator[list[int]]:
    inner = range(GRANULE, tokens, GRANULE)
    for count in range(len(inner) + 1):
        for cuts in itertools.combinations(inner, count):
            yield [b - a for a, b in itertools.pairwise([0, *cuts, tokens])]


def time_us(problem: dict[str, Any], blocks: list[int]) -> float:
    return float(core().plan_token_blocks(problem | {"blocks": blocks})["model"]["pipelined_us"])


@pytest.mark.parametrize("seed", range(24))
def test_least_of_all_schedules(seed: int) -> None:
    problem = small_problem(seed)
    us, blocks = least(Problem.of(problem))
    assert us == pytest.approx(min(time_us(problem, each) for each in every_schedule(problem["tokens"])), rel=1e-9)
    assert us == pytest.approx(time_us(problem, list(blocks)), rel=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_near_least_has_the_least_of_each_number_of_blocks(seed: int) -> None:
    problem = small_problem(seed)
    all_us: dict[int, float] = {}
    for each in every_schedule(problem["tokens"]):
        all_us[len(each)] = min(time_us(problem, each), all_us.get(len(each), math.inf))
    limit = 1.1 * min(all_us.values())
    found = near_least(Problem.of(problem), 0.1)
    assert found == sorted(found)
    assert {len(blocks): us for us, blocks in found} == pytest.approx(
        {count: us for count, us in all_us.items() if us <= limit}, rel=1e-9
    )


def test_a_schedule_that_is_not_the_least_is_noticed() -> None:
    """The canary of the test above: most schedules take longer by more than it allows."""
    problem = small_problem(9)
    times = [time_us(problem, blocks) for blocks in every_schedule(problem["tokens"])]
    us, _ = least(Problem.of(problem))
    assert len(times) > 30
    assert sum(time > us * (1 + 1e-6) for time in times) > 0.9 * len(times)


@pytest.mark.parametrize("seed", range(8))
def test_terms_add_up_to_the_model(seed: int) -> None:
    problem = small_problem(seed)
    for blocks in itertools.islice(every_schedule(problem["tokens"]), 40):
        assert terms(Problem.of(problem), tuple(blocks)).total_us == pytest.approx(time_us(problem, blocks), rel=1e-9)


def test_needed_factors() -> None:
    problem = Problem.of(small_problem(9))
    now = speedup(problem, 0.0)

    def change(x: float) -> Problem:
        return problem.with_link(messages=x)

    assert needed(change, 0.0, now) == 1
    assert needed(change, 0.0, 100.0) is None
    factor = needed(change, 0.0, now * 1.02)
    assert factor is not None
    assert 0 < factor < 1
    assert speedup(change(factor), 0.0) >= now * 1.02 > speedup(change(factor + 0.01), 0.0)


def test_bound_of_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "allreduce", "--bound", "--layers", "pangu-38b", "--lengths", "2048", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert sum(row["blocks"]) == 2048
    assert sum(row["terms"].values()) == pytest.approx(row["least_us"])
    assert row["least_us"] <= row["sequential_us"]
    assert row["speedup"] <= row["speedup_without_lag"]
