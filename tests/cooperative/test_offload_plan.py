"""The planner: both memories respected, never all-or-nothing, the model's arithmetic, and its refusals."""

from __future__ import annotations

import dataclasses

import pytest

from fastattention_npu.cooperative import CacheShape, Machine, plan_offload, predict_step
from fastattention_npu.cooperative.plan import spread, whole_layers

SHAPE = CacheShape(layers=32, heads=4, kv_heads=4, head_dim=128, batch=1, tokens=262144)
MACHINE = Machine(
    gpu_free_bytes=14 << 30, host_free_bytes=100 << 30, h2d_gbps=55.0, d2h_gbps=53.0, cpu_gbps=110.0, gpu_gbps=3000.0
)


def test_unit_bytes() -> None:
    assert SHAPE.unit_bytes == 2 * 262144 * 128 * 2
    assert SHAPE.total_bytes == 32 * 4 * SHAPE.unit_bytes


@pytest.mark.parametrize("granularity", ["auto", "layer", "head"])
@pytest.mark.parametrize("free_gib", [3, 6, 10, 14, 20])
def test_memory_is_respected_and_used(granularity: str, free_gib: int) -> None:
    machine = dataclasses.replace(MACHINE, gpu_free_bytes=free_gib << 30)
    reserve = 1 << 30
    plan = plan_offload(SHAPE, machine, reserve_bytes=reserve, granularity=granularity)
    staging = 2 * max(plan.cpu_heads) * SHAPE.unit_bytes
    assert plan.gpu_bytes + staging + reserve <= machine.gpu_free_bytes
    assert plan.gpu_bytes + plan.cpu_bytes == SHAPE.total_bytes
    if plan.cpu_units:
        # One more head on the accelerator would not fit: nothing leaves that could stay.
        split = whole_layers if plan.granularity == "layer" or granularity == "layer" else spread
        more = split(plan.cpu_units - 1, 32, 4)
        assert (
            128 - plan.cpu_units + 1 + 2 * max(more, default=0)
        ) * SHAPE.unit_bytes + reserve > machine.gpu_free_bytes
        assert 0 < plan.cpu_units < 128 or free_gib < 4


def test_everything_fits_stays_resident() -> None:
    plan = plan_offload(SHAPE, dataclasses.replace(MACHINE, gpu_free_bytes=40 << 30))
    assert plan.cpu_units == 0
    assert plan.granularity == "none"


def test_model_arithmetic() -> None:
    shape = CacheShape(layers=2, heads=2, kv_heads=2, head_dim=100, batch=1, tokens=10_000, element_bytes=2)
    assert shape.unit_bytes == 4_000_000
    machine = Machine(1 << 30, 1 << 30, h2d_gbps=4.0, d2h_gbps=8.0, cpu_gbps=2.0, gpu_gbps=40.0, round_trip_s=0.001,
                      launch_s=0.0, dense_s=0.0005)  # fmt: skip
    resident = 2 * (0.0005 + 2 * 4e6 / 40e9)
    assert predict_step(shape, machine, (0, 2), strategy="resident") == pytest.approx(resident)
    assert predict_step(shape, machine, (0, 2), strategy="classical") == pytest.approx(8e6 / 4e9)
    exchange = 2 * shape.exchange_bytes / 4e9
    offloaded = 0.0005 + 0.001 + exchange + 8e6 / 2e9
    assert predict_step(shape, machine, (0, 2)) == pytest.approx(resident / 2 + offloaded)
    # Two groups: the host is the bottleneck and never waits.
    assert predict_step(shape, machine, (0, 2), groups=2) == pytest.approx(2 * (offloaded - 0.0005))
    # Half the tokens, half the bytes: now the copy hides behind the computation.
    half = predict_step(shape, machine, (0, 2), tokens=5000, strategy="classical")
    assert half == pytest.approx(2 * (0.0005 + 2 * 2e6 / 40e9))


def test_auto_takes_the_faster_granularity() -> None:
    for round_trip in (1e-6, 5e-2):
        machine = dataclasses.replace(MACHINE, round_trip_s=round_trip, gpu_gbps=300.0)
        plans = [plan_offload(SHAPE, machine, granularity=g) for g in ("auto", "layer", "head")]
        assert plans[0].predicted_s == min(p.predicted_s for p in plans)


def test_splits_cover_exactly() -> None:
    for units in range(33):
        for split in (spread, whole_layers):
            heads = split(units, 8, 4)
            assert len(heads) == 8
            assert sum(heads) == units
            assert max(heads) <= 4


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"host_free_bytes": 1 << 20}, ["host:", "are free"]),
        ({"gpu_free_bytes": 1 << 20}, ["accelerator:", "larger card"]),
    ],
    ids=["host", "accelerator"],
)
def test_refusals(changes: dict[str, int], parts: list[str]) -> None:
    with pytest.raises(ValueError, match="plan_offload") as e:
        plan_offload(SHAPE, dataclasses.replace(MACHINE, **changes))
    assert all(part in str(e.value) for part in parts)


def test_unknown_granularity() -> None:
    with pytest.raises(ValueError, match="granularity is 'token'"):
        plan_offload(SHAPE, MACHINE, granularity="token")
