"""How evenly the schedules spread the work: the kernel's own walk over tasks, counted on the host for every group."""

import argparse
import json
from dataclasses import replace

import numpy as np
import pytest
from planning import SOC

from fastattention_npu import _core
from fastattention_npu.bench import balance
from fastattention_npu.bench.balance import BLOCKS_PER_CORE, ONE_LENGTH, PACKED, Case, blocks_per_core, latest, packed
from fastattention_npu.sim.timing import steering_arrays, time_plan

WORST = balance.EVEN  # largest load over the mean
FOLDED, RANGES, ROUND_ROBIN = 0, 1, 2


def ratio(groups: list[dict[str, int]], measure: str = "share") -> float:
    return latest([group[measure] for group in groups])


def sweep() -> list[Case]:
    sizes = (
        (512, 512),
        (1024, 1024),
        (2048, 2048),
        (3000, 3000),
        (8192, 8192),
        (16384, 16384),
        (100, 5000),
        (4096, 1024),
    )
    cases = [Case(s_q, s_kv, heads, causal) for s_q, s_kv in sizes for heads in (1, 5, 32) for causal in (False, True)]
    cases += [Case(s, s, heads, True, window) for s in (2048, 8192) for heads in (1, 24) for window in (100, 1024)]
    for seed in range(12):
        sizes = (3, 16, 64)[seed % 3], (700, 4096, 16384)[seed // 4], (1, 8, 32)[seed % 3]
        cases.append(packed(seed, *sizes, causal=seed % 4 != 0))
    cases.append(packed(12, 200, 500, 2))
    return cases


BALANCED = [case for case in sweep() if blocks_per_core(case.groups(SOC)) >= BLOCKS_PER_CORE]
# Everything that the weights of blocks and tasks depend on, so that shares of two plans can be compared.
SIZES = {"block_q": 128, "block_kv": 256, "strip_rows": 16, "l0_tile_kv": 128, "l1_tile_kv": 256, "interleave": 0}


def test_the_sweep_has_cases_on_both_sides() -> None:
    assert len(BALANCED) >= 40
    assert len(sweep()) - len(BALANCED) >= 5


@pytest.mark.parametrize("case", BALANCED, ids=str)
def test_no_core_waits_for_another(case: Case) -> None:
    assert ratio(case.groups(SOC)) <= WORST


@pytest.mark.parametrize("case", sweep(), ids=str)
@pytest.mark.parametrize("schedule", [FOLDED, RANGES, ROUND_ROBIN])
def test_all_work_is_shared_out_once(case: Case, schedule: int) -> None:
    alone = replace(case, overrides=SIZES | {"block_dim": 1, "schedule": FOLDED}).groups(SOC)
    shared = replace(case, overrides=SIZES | {"schedule": schedule}).groups(SOC)
    assert sum(group["share"] for group in shared) == pytest.approx(alone[0]["share"], rel=1e-9)


@pytest.mark.parametrize("case", ONE_LENGTH, ids=str)
def test_simulated_groups_end_together(case: Case) -> None:
    assert latest(case.ends(SOC)) <= WORST


QUICK = [case for case in PACKED if case.heads * sum(queries * keys for queries, keys in case.lengths) < 2e8]


def test_most_packed_batches_are_timed() -> None:
    assert len(QUICK) >= 14
    assert sum(case.used for case in QUICK) == 2
    assert any(case.key_heads and not case.used for case in QUICK)


@pytest.mark.parametrize("case", QUICK, ids=str)
def test_packed_groups_end_together(case: Case) -> None:
    assert latest(case.ends(SOC)) <= WORST


def test_canary_packed_groups_end_apart_where_tasks_weigh_alike() -> None:
    """With so much for a block that its rows and keys hardly count."""
    case = replace(packed(51, 20, 700, 8), overrides={"block_units": 512})
    assert latest(case.ends(SOC)) > 1.1


def test_packed_blocks_have_no_more_rows_than_sequences_on_average() -> None:
    """The longest has 500 queries, and alone gets blocks of 256 rows."""
    short, long = ((100, 400),) * 47, ((500, 500),)
    batch = Case(500, 500, 4, False, lengths=short + long)
    alone = Case(500, 500, 192, False, lengths=long)
    assert batch.plan(SOC)["tiling"]["block_q"] == 128
    assert alone.plan(SOC)["tiling"]["block_q"] == 256


def test_timing_reads_lengths_and_takes_as_long_as_arithmetic() -> None:
    case = packed(3, 3, 300, 1, d=64)
    plan = case.plan(SOC)
    timed = time_plan(case.problem(), plan, SOC, lengths=case.lengths)["cycles"]
    queries, keys = (sum(column) for column in zip(*case.lengths, strict=True))
    arrays = steering_arrays(case.problem(), plan["tiling"], case.lengths)
    for name, rows in (("q", queries), ("k", keys), ("v", keys), ("o", queries)):
        arrays[name] = np.zeros((rows, 64), np.float16)
    arrays["lse"] = np.zeros(queries, np.float32)
    arrays["mask"] = _core.device_constants(plan["tiling"]["mask_block"], plan["tiling"]["mask"])
    operands = {name: (array.ctypes.data, array.nbytes) for name, array in arrays.items()}
    launch = plan["tiling_bytes"], plan["block_dim"], operands, plan["workspace_bytes"]
    assert _core.simulate("flash_attention_fwd", SOC, *launch, {"functional": True})["cycles"] == timed


def test_timing_refuses_lengths_that_do_not_suit_the_problem() -> None:
    batch, alone = packed(3, 3, 300, 1), Case(300, 300)
    with pytest.raises(ValueError, match="0 lengths given, this problem takes the lengths of its 3 batch entries"):
        time_plan(batch.problem(), batch.plan(SOC), SOC)
    with pytest.raises(ValueError, match="3 lengths given, this problem takes no lengths on the device"):
        time_plan(alone.problem(), alone.plan(SOC), SOC, lengths=batch.lengths)


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balance, "ONE_LENGTH", (Case(1024, 1024, 8),))
    monkeypatch.setattr(balance, "PACKED", (packed(3, 3, 300, 8),))
    options = {"soc": "ascend910b2", "random": None, "seed": 1}
    assert balance.run(argparse.Namespace(json=True, **options)) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [len(row["lengths"]) for row in rows] == [0, 3]
    assert all(row["ends"] >= 1 and row["work"] >= 1 for row in rows)
    assert balance.run(argparse.Namespace(json=False, **options)) == 0
    assert "ends and cycles simulated" in capsys.readouterr().out


def test_problems_by_chance(capsys: pytest.CaptureFixture[str]) -> None:
    """The same ones every time; how many end together is said for each kind."""
    assert balance.drawn(2, 3, SOC) == balance.drawn(2, 3, SOC) != balance.drawn(2, 4, SOC)
    assert balance.run(argparse.Namespace(json=False, soc="ascend910b2", random=3, seed=3)) == 0
    text = capsys.readouterr().out
    assert all(f"{kind}: " in text for kind in ("one length", "packed", "keys in use"))
    assert "end within 1.05 of the mean" in text


def test_canary_wrong_weights_make_groups_end_apart() -> None:
    """Ranges cut as if a task cost as much as 64 columns of keys: short query blocks are done early."""
    case = Case(8192, 8192, 3, overrides={"schedule": RANGES, "task_units": 64})
    assert latest(case.ends(SOC)) > WORST


def test_fewer_blocks_than_cores_are_split_along_their_keys() -> None:
    groups = Case(128, 24 * 1024, causal=False).groups(SOC)
    assert len(groups) == 24
    assert sum(group["parts"] for group in groups) >= 24
    assert ratio(groups) <= WORST


def test_splitting_costs_little() -> None:
    """A cut makes the part behind it pay for a task's begin, and for a block's, once more."""
    worst = max(ratio(case.groups(SOC), "units") for case in BALANCED)
    assert worst <= 1.15


def test_canary_whole_tasks_leave_cores_waiting() -> None:
    """The baseline's schedule, and folding with few or unknown lengths, break the rule, so it can be broken."""
    sizes = {"block_q": 128, "block_kv": 512}
    baseline = Case(4096, 4096, 4, overrides=sizes | {"schedule": ROUND_ROBIN})
    few = Case(4096, 4096, overrides=sizes | {"schedule": FOLDED})
    lengths = ((4096, 4096), (100, 100), (100, 100))
    unknown = Case(4096, 4096, 4, lengths=lengths, overrides=sizes | {"schedule": FOLDED})
    for case in (baseline, few, unknown):
        assert blocks_per_core(case.groups(SOC)) >= BLOCKS_PER_CORE
        assert ratio(case.groups(SOC)) > WORST
