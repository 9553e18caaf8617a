"""Published measurements that the cycle model is held against, as data: what was run, what was measured, by whom.

`fits` names the constants of configs/soc that were fitted on a row; a row without any was kept out of the fit.
"""

from dataclasses import dataclass, field
from typing import Any

DATA_COPY = "DataCopy best-practice sample of the Ascend C documentation, table"
ADD = "Add tuning sample of the Ascend C documentation, table"
BANKS = "UB bank conflict sample of the Ascend C documentation, scenario"
REDUCE = "Ascend C guide, choice of low-latency reductions"
UNIT_FLAG = "Ascend C documentation, UnitFlag page, table 1"
MATMUL = "high-performance matmul sample of the Ascend C documentation, 8192^3, case 8"
SINGLE_OPS = "pto-isa cost model, 910B3 fits of isolated operations"
ND2NZ_UB = "ND2NZ bank conflict sample of the Ascend C documentation, case"
ATTENTION = "pto-isa torch_jit flash attention demo, 910B2, aarch64 host"


@dataclass(frozen=True)
class Row:
    """One measurement. `measure` is the figure taken from the simulation: "time_us" or a pipe, whose busy time is
    meant; `scale` multiplies it (a part of the workload was simulated, or one of many repetitions is quoted)."""

    name: str
    group: str
    kernel: str
    published: float
    unit: str
    source: str
    measure: str
    tiling: dict[str, Any]
    soc: str = "ascend910b1"
    block_dim: int = 24
    scale: float = 1.0
    warm: bool = True  # measurements repeat a launch; False where one launch, or a part of one, must find the L2 empty
    fits: tuple[str, ...] = ()
    operands: dict[str, int] = field(default_factory=dict)


def _copy(
    name: str, target: str, published: float, tile: tuple[int, int], fits: tuple[str, ...] = (), **more: Any
) -> Row:
    """A matrix of 2-byte elements copied by all cores, each its own rows unless `shared`."""
    cores = 48 if target == "ub" else 24
    rows, cols = more.pop("shape", (12288, 12288))
    core_rows = more.pop("core_rows", 12288 // cores)
    tiling = {
        "rows": rows, "cols": cols, "tile_rows": tile[0], "tile_cols": tile[1], "target": int(target == "l1"),
        "core_rows": core_rows, "shared": 0, "staggered": 0, "splits": 1, "repeats": 1, "stages": 1,
    }  # fmt: skip
    scale = more.pop("scale", 1.0)
    pipe = "aiv.mte2" if target == "ub" else "aic.mte2"
    source = f"{DATA_COPY} GM to {target.upper()}"
    return Row(name, "copy", "copy_bench", published, "us", source, pipe, tiling | more, scale=scale,
               warm=scale == 1, fits=fits, operands={"x": rows * cols * 2})  # fmt: skip


BIG = (64, 1024)
SLICE = ("shared.l2_slice_bytes_per_cycle",)
SMALL: dict[str, Any] = {"shape": (6144, 512), "shared": 1}
COPY_ROWS = (
    _copy("ub 128 B DMAs", "ub", 548.161, (1, 64), ("mte2.head_cycles",), shape=(384, 12288), core_rows=8, scale=32.0),
    _copy("ub 8 KB DMAs of 128 B rows", "ub", 220.772, (64, 64), ("mte2.ub_burst_cycles",)),
    _copy("ub 128 KB DMAs of 2 KB rows", "ub", 202.657, BIG, ("shared.hbm_gbps",)),
    _copy("ub rows off by 2 B", "ub", 259.047, BIG, shape=(12288, 12287)),
    _copy("ub 302 MB four times", "ub", 816.05, BIG, repeats=4),
    _copy("ub quarters four times, L2 hits", "ub", 354.56, BIG, ("mte2.ub_bytes_per_cycle",), repeats=4, splits=4),
    _copy("ub same lines together", "ub", 474.717, (128, 64), SLICE, core_rows=128, **SMALL),
    _copy("ub staggered", "ub", 307.38, (128, 64), ("mte2.ub_burst_cycles",), core_rows=128, staggered=1, **SMALL),
    _copy("l1 8 KB ND2NZ of 128 B rows", "l1", 283.508, (64, 64), ("mte2.l1_burst_cycles",)),
    _copy("l1 32 KB ND2NZ of 512 B rows", "l1", 214.519, (64, 256), ("shared.miss_bytes_per_cycle_aic",)),
    _copy("l1 rows off by 2 B", "l1", 422.515, (64, 256), shape=(12288, 12287)),
    _copy("l1 302 MB four times", "l1", 872.19, BIG, repeats=4),
    _copy("l1 quarters four times, L2 hits", "l1", 397.8, BIG, ("mte2.l1_bytes_per_cycle",), repeats=4, splits=4),
    _copy("l1 same lines together", "l1", 240.198, (256, 64), SLICE, core_rows=256, **SMALL),
    _copy("l1 staggered", "l1", 209.8, (256, 64), ("mte2.l1_burst_cycles",), core_rows=256, staggered=1, **SMALL),
)  # fmt: skip


def _add(name: str, measure: str, published: float, tile: int, fits: tuple[str, ...] = (), **more: Any) -> Row:
    """Streaming z = x + y over 8192 x 8192 halves, or over a part of it."""
    elems = more.pop("elems", 8192 * 8192 // 768 * 768)  # whole blocks for each of 48 cores
    cores, stages = more.pop("cores", 48), more.pop("stages", 1)
    tiling = {"elems": elems, "tile_elems": tile, "cores": cores, "stages": stages, "y_offset_bytes": tile * 2,
              "z_offset_bytes": tile * 4, "stage_bytes": tile * 6}  # fmt: skip
    return Row(name, "stream", "add_bench", published, "us", f"{ADD} of the A2", measure, tiling, fits=fits,
               block_dim=(cores + 1) // 2, operands=dict.fromkeys("xyz", elems * 2), **more)  # fmt: skip


# One core: 512 of 16384 tiles; the other core of the block idles, so that mean busy times count half.
ONE_CORE: dict[str, Any] = {"cores": 1, "elems": 4096 * 512, "scale": 32.0, "warm": False}
STREAM_ROWS = (
    _add("add one core 8 KB, loads", "aiv.mte2", 6208.762, 4096, ("shared.miss_bytes_per_cycle_aiv",), **ONE_CORE),
    _add("add one core 8 KB, stores", "aiv.mte3", 2613.205, 4096, ("shared.gm_write_latency_cycles",), **ONE_CORE),
    _add("add one core 8 KB, vector", "aiv.vector", 761.65, 4096, **ONE_CORE),
    _add("add 48 cores 8 KB", "kernel", 297.14, 4096),
    _add("add 48 cores 32 KB", "kernel", 261.5, 16384),
    _add("add 48 cores 32 KB, vector", "aiv.vector", 12.845, 16384),
    _add("add 48 cores 32 KB double-buffered", "kernel", 257.56, 16256, stages=2),
)

VECTOR_DEFAULTS = {
    "kind": 0, "loops": 200, "repeats": 64, "dst_bytes": 0x20000, "src0_bytes": 0, "src1_bytes": 0x10100,
    "src0_block_stride": 1, "src0_repeat_stride": 8, "dst_block_stride": 1, "dst_repeat_stride": 8,
}  # fmt: skip
KINDS = ("ADD", "BLOCK_WHOLE", "WHOLE_TWICE", "BLOCK_THRICE", "EXP", "MULS", "DIV", "SUM_WHOLE", "SUM_TREE", "MUL_ADD")


def _vector(name: str, kind: str, published: float, source: str, fits: tuple[str, ...] = (), **more: Any) -> Row:
    """One vector core; the figure is the cycles of one instruction or chain."""
    tiling = VECTOR_DEFAULTS | {"kind": KINDS.index(kind)} | more
    return Row(name, "vector", "vector_bench", published, "cycles", source, "per_loop", tiling, block_dim=1, warm=False,
               fits=fits, operands={"x": 131072})  # fmt: skip


# The sample counts 50 MHz ticks of 1000 Adds: 37 cycles a tick.
def _bank(scenario: int, ticks: float, fits: tuple[str, ...] = (), **addresses: Any) -> Row:
    return _vector(f"add banks {scenario}", "ADD", ticks * 37 / 1000, f"{BANKS} {scenario}", fits, **addresses)


OVERLAID: dict[str, Any] = {"dst_bytes": 0x10100, "src0_block_stride": 0}
VECTOR_ROWS = (
    _bank(1, 2390, ("vector.head_cycles", "vector.tail_cycles")),
    _bank(2, 4167, src1_bytes=0x4000, dst_bytes=0x10000),
    _bank(3, 4167, src1_bytes=0x10000, dst_bytes=0x14100),
    _bank(4, 2389, dst_bytes=0x4000),
    _bank(5, 3751, ("vector.write_conflict_cycles",), dst_bytes=0x4020),
    _bank(6, 2390, dst_bytes=0x10100),
    _bank(7, 3584, src0_repeat_stride=1, **OVERLAID),
    _bank(8, 2389, src0_repeat_stride=8, **OVERLAID),
    _vector("copy scattered, stride 144", "MULS", 1165.8, f"{ND2NZ_UB} 1", repeats=144, dst_bytes=0x10000,
            dst_block_stride=144, dst_repeat_stride=1),
    _vector("copy scattered, stride 145", "MULS", 173.2, f"{ND2NZ_UB} 2", repeats=144, dst_bytes=0x10000,
            dst_block_stride=145, dst_repeat_stride=1),
    _vector("exp", "EXP", 159.0, SINGLE_OPS, ("vector.long_tail_cycles",)),
    _vector("muls", "MULS", 90.0, SINGLE_OPS),
    _vector("sum of 256: block, whole", "BLOCK_WHOLE", 156.1, REDUCE,
            ("vector.partial_block_cycles",), src1_bytes=0x8000),
    _vector("sum of 256: whole twice", "WHOLE_TWICE", 240.5, REDUCE,
            ("vector.partial_block_cycles",), src1_bytes=0x8000),
    _vector("sum of 256: block thrice", "BLOCK_THRICE", 257.9, REDUCE,
            ("vector.partial_block_cycles",), src1_bytes=0x8000),
    _vector("sum of 30000: whole, copy included", "SUM_WHOLE", 8954.0, REDUCE, repeats=469, loops=1,
            dst_bytes=0x1d800, src1_bytes=0x2d000),
    _vector("sum of 30000: halving, copy included", "SUM_TREE", 6364.0, REDUCE, repeats=469, loops=1,
            dst_bytes=0x1d800, src1_bytes=0x2d000),
)  # fmt: skip


def _mmad(name: str, n: int, published: float, unit_flag: bool) -> Row:
    tiling = {"m": 128, "n": n, "k": 64, "loops": 8, "unit_flag": int(unit_flag)}
    source = f"{UNIT_FLAG}, UnitFlag {'on' if unit_flag else 'off'}"
    return Row(name, "cube", "mmad_bench", published, "cycles", source, "total", tiling, block_dim=1)


# Two of sixteen row tiles and all six column tiles of each core's part; 85.3 tiles a core in the full problem.
MATMUL_TILING = {
    "m": 1024, "n": 9216, "k": 8192, "trans_b": 1, "core_m": 256, "core_n": 1536, "grid_m": 4,
    "base_m": 128, "base_n": 256, "base_k": 64, "step_a": 4, "step_b": 4,
}  # fmt: skip


def _matmul(name: str, measure: str, published: float, fits: tuple[str, ...] = ()) -> Row:
    t = MATMUL_TILING
    sizes = {"a": t["m"] * t["k"] * 2, "b": t["n"] * t["k"] * 2, "c": t["m"] * t["n"] * 2}
    return Row(name, "cube", "matmul_fp16", published, "us", MATMUL, measure, t, scale=2048 / 24 / 12, fits=fits,
               operands=sizes)  # fmt: skip


CUBE_ROWS = (
    _mmad("8 Mmads 128 x 256 x 64", 256, 4225.0, False),
    _mmad("8 Mmads 128 x 256 x 64, UnitFlag", 256, 4209.0, True),
    _mmad("8 Mmads 128 x 128 x 64", 128, 2172.0, False),
    _mmad("8 Mmads 128 x 128 x 64, UnitFlag", 128, 2172.0, True),
    _matmul("matmul 8192^3, cube", "aic.cube", 3076.396, ("cube.head_cycles",)),
    _matmul("matmul 8192^3, MTE1", "aic.mte1", 2533.512, ("mte1.start_cycles",)),
    _matmul("matmul 8192^3, MTE2", "aic.mte2", 3435.584),
    _matmul("matmul 8192^3, time on the cores", "kernel", 3559.06),
)

# Micro-seconds by rows of Q (one core group for 128) and keys; one head of 128.
ATTENTION_US = {
    128: {1024: 19.200, 2048: 23.420, 4096: 38.317, 8192: 68.778},
    256: {1024: 18.604, 2048: 23.939, 4096: 39.838, 8192: 71.212},
    512: {1024: 18.603, 2048: 24.787, 4096: 41.475, 8192: 74.903},
    1024: {1024: 19.439, 2048: 26.221, 4096: 43.127, 8192: 76.855},
    2048: {1024: 23.424, 2048: 36.055, 4096: 59.690, 8192: 107.780},
}
# The table's kernel: 128 rows of Q against 256 keys at a time, cube tiles of 128 keys, Q.K^T four blocks ahead; query
# blocks go to the cores whole.
ATTENTION_TILING = {
    "block_q": 128, "block_kv": 256, "preload": 4, "ring": 5, "strip_rows": 32, "l1_tile_kv": 256, "l0_tile_kv": 128,
    "stagger": 1, "schedule": 2,
}  # fmt: skip
ATTENTION_FITS = {
    (2048, 4096): SLICE,
    (2048, 8192): SLICE,
}
ATTENTION_ROWS = tuple(
    Row(f"attention {s_q} x {s_kv}", "attention", "flash_attention_fwd", us, "us", ATTENTION, "time_us",
        {"s_q": s_q, "s_kv": s_kv}, soc="ascend910b2", block_dim=s_q // 128,
        fits=ATTENTION_FITS.get((s_q, s_kv), ()))
    for s_q, columns in ATTENTION_US.items()
    for s_kv, us in columns.items()
)  # fmt: skip

MICRO_ROWS = COPY_ROWS + STREAM_ROWS + VECTOR_ROWS + CUBE_ROWS
ROWS = MICRO_ROWS + ATTENTION_ROWS
