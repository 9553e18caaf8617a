"""The clock: every term has its cause, shared bandwidth is shared, and the answer never depends on the host."""

from typing import Any

import numpy as np
import pytest
from planning import LLAMA, PUBLIC, SOC, plan, soc_of

from fastattention_npu.bench.balance import packed
from fastattention_npu.bench.calibration import simulate
from fastattention_npu.bench.calibration_rows import ROWS, VECTOR_DEFAULTS, Row
from fastattention_npu.sim import timing
from fastattention_npu.sim.timing import steering_arrays

COPY = {
    "rows": 768, "cols": 4096, "tile_rows": 16, "tile_cols": 1024, "target": 0, "core_rows": 16, "shared": 0,
    "staggered": 0, "splits": 1, "repeats": 1, "stages": 1,
}  # fmt: skip


def cycles(kernel: str, tiling: dict[str, Any], block_dim: int = 24, warm: bool = False, **changes: float) -> float:
    """Simulated cycles without launch."""
    operands = {"copy_bench": {"x": 1 << 30}, "vector_bench": {"x": 1 << 20}}[kernel]
    row = Row("", "", kernel, 1.0, "cycles", "", "total", tiling, block_dim=block_dim, warm=warm, operands=operands)
    return simulate(row, {key.replace("__", "."): value for key, value in changes.items()}).simulated


def copy(block_dim: int = 24, warm: bool = False, **more: Any) -> float:
    changes = {key: more.pop(key) for key in list(more) if "__" in key}
    return cycles("copy_bench", COPY | more, block_dim, warm, **changes)


def vector(**more: Any) -> float:
    return cycles("vector_bench", VECTOR_DEFAULTS | {"loops": 1} | more, 1)


def test_hbm_is_divided_among_the_cores_that_use_it() -> None:
    alone = copy(block_dim=1, rows=32, tile_rows=16)
    together = copy(block_dim=24)
    per_core = SOC["shared.hbm_gbps"] * 1e3 / SOC["clock.mhz"] / 48
    assert alone == pytest.approx(16 * 8192 / SOC["shared.miss_bytes_per_cycle_aiv"], rel=0.1)
    assert together == pytest.approx(16 * 8192 / per_core, rel=0.15)


def test_l2_serves_what_was_read_before_and_fits() -> None:
    once, again = copy(), copy(repeats=2)
    assert again - once < 0.4 * once
    assert copy(warm=True) < 0.5 * once
    small_l2 = copy(repeats=2, memory__l2_bytes=2**20)
    assert small_l2 > 1.8 * once


def test_runs_that_straddle_lines_cost_more() -> None:
    assert copy(cols=4097) > 1.15 * copy(cols=4096)
    short = copy(tile_rows=16, tile_cols=64, warm=True)
    assert short > 3 * copy(warm=True)


def test_cores_on_the_same_lines_share_one_slice() -> None:
    shared = {"rows": 256, "cols": 512, "tile_cols": 512, "core_rows": 256, "tile_rows": 64, "shared": 1}
    slice_cycles = 256 * 1024 * 48 / SOC["shared.l2_slice_bytes_per_cycle"]
    assert copy(warm=True, **shared) == pytest.approx(slice_cycles, rel=0.1)


def test_bank_conflicts_follow_addresses_and_strides() -> None:
    free = vector()
    assert vector(src1_bytes=0x4000) == pytest.approx(free + 64, abs=2)  # the same bank group twice a repeat
    assert vector(dst_bytes=0x4020) == pytest.approx(free + 63 * SOC["vector.write_conflict_cycles"], abs=2)
    assert vector(dst_bytes=0x4000) == free  # the write waits one repeat and misses the read
    assert vector(kind=9) == pytest.approx(
        free + 64, abs=2
    )  # a multiply-add reads its destination besides both sources
    assert vector(kind=5, dst_block_stride=16, dst_repeat_stride=1, repeats=16) > vector(kind=5, repeats=16) + 100


def test_a_full_queue_stalls_the_scalar_unit_but_loses_nothing() -> None:
    deep = vector(loops=100)
    shallow = cycles("vector_bench", VECTOR_DEFAULTS | {"loops": 100}, 1, scalar__queue_depth=1)
    assert deep <= shallow < 1.2 * deep


def test_numbers_of_one_line_come_from_gm_once() -> None:
    """The scalar unit reads the lengths of packed sequences through its data cache."""
    batch = packed(61, 100, 400, 8)
    cached = max(batch.ends(SOC))
    uncached = max(batch.ends(SOC | {"scalar.dcache_bytes": 1}))
    assert uncached > 1.1 * cached
    assert uncached == max(batch.ends(SOC | {"scalar.gm_cached_read_cycles": SOC["scalar.gm_read_cycles"]}))
    assert cached < max(batch.ends(SOC | {"scalar.gm_cached_read_cycles": 20}))
    assert cached < max(batch.ends(SOC | {"scalar.dcache_bytes": 64}))


def test_where_the_host_puts_lengths_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are those of model addresses: at 13 numbers behind a border of the host's there would be one more."""
    batch = packed(61, 100, 400, 8)
    ends = batch.ends(SOC)

    def behind_border(*args: Any) -> dict[str, np.ndarray]:
        arrays = {}
        for name, array in steering_arrays(*args).items():
            room = np.zeros(array.size + 32, array.dtype)
            first = -room.ctypes.data // array.itemsize % 16 + 13
            arrays[name] = room[first : first + array.size].reshape(array.shape)
            arrays[name][...] = array
        return arrays

    monkeypatch.setattr(timing, "steering_arrays", behind_border)
    assert batch.ends(SOC) == ends


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_same_cycles_for_any_number_of_threads(threads: int) -> None:
    from fastattention_npu import _core

    answer = plan(LLAMA | {"h_q": 4, "h_kv": 4, "s_q": 256, "s_kv": 256}, **PUBLIC, block_dim=8)
    sizes = {"q": 262144, "k": 262144, "v": 262144, "o": 262144, "lse": 4096}
    sizes["mask"] = answer["tiling"]["mask_block"] ** 2 // 2
    operands = {name: ((i + 1) << 36, size) for i, (name, size) in enumerate(sizes.items())}
    run = [
        _core.simulate_flash_attention(SOC, answer["tiling_bytes"], 8, operands, answer["workspace_bytes"],
                                       {"functional": False, "threads": n})
        for n in (1, threads)
    ]  # fmt: skip
    assert run[0]["cycles"] == run[1]["cycles"]
    assert run[0]["pipe_busy"] == run[1]["pipe_busy"]


def test_every_constant_of_the_clock_matters_somewhere() -> None:
    """A constant that changes no row is not a cause of anything."""
    rows = {row.name: row for row in ROWS}
    moves = {
        "shared.hbm_gbps": "ub 128 KB DMAs of 2 KB rows",
        "shared.miss_bytes_per_cycle_aic": "l1 32 KB ND2NZ of 512 B rows",
        "shared.l2_slice_bytes_per_cycle": "ub same lines together",
        "shared.miss_bytes_per_cycle_aiv": "add one core 8 KB, loads",
        "shared.gm_write_latency_cycles": "add one core 8 KB, stores",
        "mte2.ub_burst_cycles": "ub staggered",
        "vector.tail_cycles": "add banks 1",
        "vector.long_tail_cycles": "exp",
        "cube.head_cycles": "8 Mmads 128 x 256 x 64",
    }
    for constant, name in moves.items():
        value = soc_of("ascend910b1")[constant]
        assert simulate(rows[name], {constant: value * 1.5}).simulated != simulate(rows[name]).simulated, constant
