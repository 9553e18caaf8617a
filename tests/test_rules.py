"""Every rule of the chip: a kernel that keeps it passes without a finding, one that breaks it is refused by name."""

import numpy as np
import pytest

from tests.rule_kernels import RULES, broken, run

# rule, kernel, kernel type, blocks, variant that breaks it, what the message must say
CASES = [
    (
        "operand-alignment",
        "alignment",
        "aiv",
        1,
        1,
        ["Duplicate", "AIV 0.0", "PIPE_V", "'dst'", "UB offset 16", "32 B"],
    ),
    ("operand-extent", "extent", "aiv", 1, 1, ["Duplicate", "'dst'", "196352"]),
    ("operand-position", "position", "aiv", 1, 1, ["DataCopyPad", "UB"]),
    ("pipe-missing", "pipe_missing", "aic", 1, 1, ["PipeBarrier", "AIC 0", "PIPE_V"]),
    ("pipe-missing", "pipe_missing", "aic", 1, 2, ["Duplicate", "AIC 0", "PIPE_V"]),
    ("gm-bounds", "gm_bounds", "aiv", 1, 1, ["DataCopy", "'src'", "32 B past the end", "'in'"]),
    ("gm-bounds", "gm_bounds", "aiv", 1, 2, ["DataCopy", "'src'", "outside every GM buffer"]),
    ("gm-read-only", "gm_read_only", "aiv", 1, 1, ["DataCopy", "'in'", "PIPE_MTE3"]),
    ("unwritten-read", "unwritten", "aiv", 1, 1, ["Adds", "'src0'", "UB byte 0"]),
    ("unwritten-read", "unwritten", "aiv", 1, 2, ["DataCopy", "'src'", "GM byte"]),
    ("pad-filler-read", "pad_filler", "aiv", 1, 1, ["Adds", "'src0'", "UB byte 20"]),
    ("pad-amount", "pad_amount", "aiv", 1, 1, ["DataCopyPad", "leftPadding = 9", "0 ... 8"]),
    ("scalar-memory", "scalar_memory", "aiv", 1, 1, ["LocalTensor::SetValue", "UB"]),
    ("field-range", "field_range", "aiv", 1, 1, ["DataCopyPad", "blockCount = 4096", "0 ... 4095"]),
    ("repeat-wrap", "repeat_wrap", "aiv", 1, 1, ["Duplicate", "repeatTime = 256", "0 ... 255"]),
    ("stride-wrap", "stride_wrap", "aiv", 1, 1, ["Adds", "dstRepStride = 256", "0 ... 255"]),
    ("dst-block-stride-zero", "dst_block_stride", "aiv", 1, 1, ["Adds", "dst block stride 0"]),
    ("copy-tail-dropped", "tail_dropped", "aiv", 1, 1, ["DataCopy(count)", "32 B", "PIPE_MTE2"]),
    ("burst-element-multiple", "burst_elements", "aiv", 1, 1, ["DataCopyPad", "blockLen = 18 B", "4-byte"]),
    ("nd2nz-field", "nd2nz_field", "aic", 1, 2, ["Nd2NzParams", "dstNzC0Stride = 16385", "PIPE_MTE2"]),
    ("atomic-type", "atomic_type", "aiv", 1, 1, ["DataCopy", "half", "float"]),
    ("atomic-left-on", "atomic_left", "aiv", 1, 1, ["kernel exit", "AIV 0.0", "atomic"]),
    ("event-id", "event_id", "aiv", 1, 1, ["SetFlag", "id = 8", "0 ... 7"]),
    ("flag-pair", "flag_pair", "aic", 1, 1, ["SetFlag", "AIC 0", "PIPE_MTE2 to PIPE_V"]),
    ("flag-set-twice", "flag_twice", "aiv", 1, 1, ["SetFlag", "V_MTE3 id 0", "first at"]),
    ("flag-never-set", "flag_never_set", "aiv", 1, 1, ["V_MTE3 id 2", "WaitFlag", "AIV 0.0"]),
    ("flag-left-set", "flag_left", "aiv", 1, 1, ["V_MTE3 id 3", "SetFlag", "AIV 0.0"]),
    ("barrier-scalar", "barrier_scalar", "aiv", 1, 1, ["PipeBarrier", "PIPE_S"]),
    ("barrier-all-pending-flag", "barrier_pending", "aiv", 1, 1, ["PipeBarrier", "SetFlag"]),
    ("cross-flag-id", "cross_id", "mix", 1, 1, ["CrossCoreSetFlag", "flagId = 16", "0 ... 15"]),
    ("cross-flag-reserved", "cross_reserved", "mix", 2, 1, ["SyncAll", "flag id 12"]),
    ("cross-flag-mode", "cross_mode", "mix", 1, 1, ["CrossCoreSetFlag", "AIC", "mode 1"]),
    ("cross-flag-mode", "cross_mode", "mix", 1, 2, ["CrossCoreSetFlag", "mode = 3", "0 ... 2"]),
    ("cross-flag-mode-mixed", "cross_mode_mixed", "mix", 1, 1, ["flag id 4", "mode 1", "mode 2"]),
    ("cross-flag-pipe", "cross_pipe", "mix", 1, 1, ["CrossCoreSetFlag", "PIPE_S", "AIC 0"]),
    ("cross-counter-overflow", "cross_overflow", "mix", 1, 1, ["flag 1", "16 sets"]),
    ("cross-twin-missing", "cross_twin", "mix", 1, 1, ["AIV 0.0", "flag 6"]),
    ("cross-flag-left-set", "cross_left", "mix", 1, 1, ["AIV 0.0", "flag 7", "1 sets"]),
    ("kernel-type", "kernel_type", "aiv", 1, 1, ["CrossCoreSetFlag", "KERNEL_TYPE_AIV_ONLY"]),
    ("kernel-type", "kernel_type", "aiv", 1, 2, ["CrossCoreWaitFlag", "KERNEL_TYPE_AIV_ONLY"]),
    ("deadlock", "cross_twin", "mix", 1, 2, ["AIC 0 waits for cross-core flag 6", "CrossCoreWaitFlag"]),
    (
        "syncall-not-all",
        "sync_all_mixed",
        "mix",
        2,
        1,
        ["AIV 0.1 called SyncAll<false> 0 times", "AIC 0 waits", "AIC 1"],
    ),
    ("syncall-not-all", "sync_all_vector", "mix", 2, 1, ["AIV 1.1 called SyncAll<true> 0 times", "AIV 0.0 waits"]),
    ("syncall-block-dim", "sync_all_vector", "mix", 25, 0, ["SyncAll", "blockDim = 25", "24 cores"]),
    ("mmad-size", "mmad_size", "aic", 1, 1, ["Mmad", "k = 4096", "0 ... 4095", "PIPE_M"]),
    ("mmad-gemv", "mmad_gemv", "aic", 1, 1, ["Mmad", "m = 1"]),
    ("mmad-option", "mmad_option", "aic", 1, 1, ["Mmad", "kDirectionAlign"]),
    ("mmad-option", "mmad_option", "aic", 1, 2, ["Mmad", "unitFlag"]),
    ("unit-flag", "unit_flag", "aic", 1, 1, ["Mmad", "PIPE_M", "L0C byte 8192", "no Fixpipe"]),
    ("unit-flag", "unit_flag", "aic", 1, 2, ["Fixpipe", "PIPE_FIX", "no Mmad"]),
    ("unit-flag", "unit_flag", "aic", 1, 3, ["Mmad", "L0C byte 0"]),
    ("unit-flag", "unit_flag", "aic", 1, 4, ["L0C byte 0", "kernel exit"]),
    ("unit-flag", "unit_flag_queued", "aic", 1, 1, ["L0C byte 0", "still set"]),
    ("unit-flag", "unit_flag_reset", "aic", 1, 1, ["SetFixPipeConfig", "L0C byte 8192", "FIX has to wait for M"]),
    ("race-write-after-read", "unit_flag_order", "aic", 1, 1, ["LoadData", "Mmad", "AIC PIPE_M -> AIC PIPE_MTE1"]),
    ("race-write-after-read", "unit_flag_order", "aic", 1, 2, ["Mmad", "Fixpipe", "AIC PIPE_FIX -> AIC PIPE_M"]),
    ("load-transpose-type", "load_transpose", "aic", 1, 1, ["LoadData", "ifTranspose", "PIPE_MTE1"]),
    ("load-transpose-type", "load_transpose", "aic", 1, 2, ["LoadData", "ifTranspose"]),
    ("load3d-form", "load_3d", "aic", 1, 1, ["LoadData3DParamsV2", "kStartPt"]),
    ("load3d-form", "load_3d", "aic", 1, 2, ["LoadData3DParamsV2", "mStartPt"]),
    ("load3d-form", "load_3d", "aic", 1, 3, ["LoadData3DParamsV2", "L0B", "1-byte"]),
    ("fixpipe-quant", "fix_quant", "aic", 1, 1, ["Fixpipe", "quantPre", "PIPE_FIX"]),
    ("fixpipe-nz-size", "fix_nz_size", "aic", 1, 1, ["Fixpipe", "nSize = 40", "16"]),
    ("fixpipe-dst-stride-zero", "fix_dst_stride", "aic", 1, 1, ["Fixpipe", "dstStride = 0"]),
    ("fixpipe-src-stride", "fix_src_stride", "aic", 1, 1, ["Fixpipe", "srcStride = 48", "mSize = 64"]),
    ("fixpipe-l1-type", "fix_l1_type", "aic", 1, 1, ["Fixpipe", "float"]),
    ("vector-overlap", "vector_overlap", "aiv", 1, 1, ["Adds", "dst and src0"]),
    ("vector-overlap", "vector_overlap", "aiv", 1, 2, ["Adds", "dst and src0"]),
    ("vector-overlap", "overlap_tail", "aiv", 1, 1, ["Adds", "dst and src0"]),
    ("vector-overlap", "overlap_repeats", "aiv", 1, 1, ["Adds", "dst and src0", "repeat 0 writes"]),
    ("vector-overlap", "overlap_repeats", "aiv", 1, 3, ["Add", "dst and src0"]),
    ("vector-overlap", "overlap_sizes", "aiv", 1, 1, ["Cast", "dst and src"]),
    ("vector-overlap", "overlap_sizes", "aiv", 1, 2, ["BlockReduceMax", "dst and src"]),
    ("vector-overlap", "overlap_sizes", "aiv", 1, 3, ["Brcb", "dst and src"]),
    ("unwritten-read", "masked_lanes", "aiv", 1, 1, ["Adds", "'src0'", "UB byte 0"]),
    ("race-write-after-write", "masked_race", "aiv", 1, 1, ["Duplicate", "PipeBarrier<PIPE_V>"]),
    ("mask-clipped", "mask_clipped", "aiv", 1, 1, ["Adds", "mask = 65", "64 lanes"]),
    ("no-operation", "no_operation", "aiv", 1, 1, ["Adds", "mask has no lane"]),
    ("no-operation", "no_operation", "aiv", 1, 2, ["Adds", "repeatTime is 0"]),
    ("no-operation", "no_operation", "aiv", 1, 3, ["DataCopyPad", "blockCount or blockLen is 0"]),
    ("no-operation", "no_operation", "aiv", 1, 4, ["DataCopyPad", "blockCount or blockLen is 0"]),
    ("l2-cache-mode", "l2_cache_mode", "aiv", 1, 1, ["SetL2CacheHint", "mode"]),
    ("repeat-wrap", "load_wrap", "aic", 1, 1, ["LoadData", "repeatTimes = 256", "0 ... 255"]),
    ("load3d-form", "load_3d_channels", "aic", 1, 1, ["LoadData3DParamsV2", "channelSize = 60"]),
    ("load3d-form", "load_3d_channels", "aic", 1, 2, ["LoadData3DParamsV2", "channelSize = 6"]),
    ("pipe-second", "pipe_second", "aiv", 1, 1, ["TPipe", "alive"]),
    ("queue-buffers", "queue_buffers", "aiv", 1, 1, ["InitBuffer", "= 65", "1 ... 64"]),
    ("queue-buffers", "queue_buffers", "aiv", 1, 2, ["InitBuffer", "len = 0"]),
    ("queue-buffers", "queue_buffers", "aiv", 1, 3, ["TBuf::Get", "= 132", "1 ... 128"]),
    ("queue-event-ids", "queue_events", "aiv", 1, 1, ["8 ids", "AllocEventID"]),
    ("queue-alloc-without-buffer", "queue_alloc", "aiv", 1, 1, ["AllocTensor", "waits forever"]),
    ("queue-depth", "queue_depth", "aiv", 1, 1, ["EnQue", "depth"]),
    ("queue-state", "queue_state", "aiv", 1, 1, ["EnQue", "does not come from this queue"]),
    ("queue-state", "queue_state", "aiv", 1, 2, ["FreeTensor", "free"]),
    ("queue-state", "queue_state", "aiv", 1, 3, ["DeQue", "empty"]),
    ("queue-state", "queue_state", "aiv", 1, 4, ["EnQue", "in the queue already"]),
    ("flag-left-set", "queue_left", "aiv", 1, 1, ["MTE2_V id 0", "AIV 0.0"]),
    ("event-id-unreleased", "event_unreleased", "aiv", 1, 1, ["TPipe::Destroy", "ReleaseEventID"]),
    ("flag-set-twice", "event_unreleased", "aiv", 1, 2, ["SetFlag", "V_MTE3 id 1"]),
    ("buffer-overflow", "buffer_overflow", "aiv", 1, 1, ["Duplicate", "'dst'", "32 past the buffer [0, 256)"]),
    ("operand-extent", "pipe_memory", "aiv", 1, 1, ["InitBuffer", "196608", "196352"]),
    ("cross-flag-order", "cross_order", "mix", 1, 1, ["CrossCoreSetFlag", "flag id 1", "PIPE_MTE2", "PIPE_FIX"]),
    ("race-read-after-write", "race_old_write", "aiv", 1, 1, ["DataCopy", "Duplicate", "PIPE_V -> AIV0 PIPE_MTE3"]),
    ("dcache-line-shared", "dcache_line", "mix", 1, 1, ["whole cache line", "AIV0", "AIV1"]),
    ("bf16-arithmetic", "bf16_arithmetic", "aiv", 1, 1, ["Add", "bf16"]),
    ("cast-mode", "cast_mode", "aiv", 1, 1, ["Cast", "roundMode"]),
    ("cast-pair", "cast_pair", "aiv", 1, 1, ["Cast"]),
    ("select-reserved-ub", "select_reserved", "aiv", 1, 1, ["Select", "Duplicate", "188416"]),
    ("select-reserved-ub", "select_reserved", "aiv", 1, 2, ["Duplicate", "188416"]),
    ("compare-count", "compare_count", "aiv", 1, 1, ["Compares", "256 B"]),
    ("mask-stale", "mask_stale", "aiv", 1, 1, ["Adds", "isSetMask"]),
    ("mask-left-partial", "mask_left", "aiv", 1, 1, ["kernel exit", "low 0xff"]),
    ("mask-left-partial", "mask_left", "aiv", 1, 2, ["kernel exit", "counter mode"]),
    ("race-read-after-write", "race_local", "aiv", 1, 1, ["DataCopy", "Duplicate", "AIV0 PIPE_V -> AIV0 PIPE_MTE3"]),
    ("race-write-after-read", "race_local", "aiv", 1, 2, ["Duplicate", "AIV0 PIPE_MTE3 -> AIV0 PIPE_V"]),
    ("race-write-after-write", "race_local", "aiv", 1, 3, ["Duplicate", "PipeBarrier<PIPE_V>"]),
    ("race-read-after-write", "race_groups", "mix", 2, 1, ["'dst'", "'src'", "of group 0", "of group 1", "SyncAll"]),
    ("race-read-after-write", "race_groups", "mix", 2, 2, ["group 0", "group 1"]),
    ("race-write-after-write", "race_atomic", "mix", 2, 1, ["group 0", "group 1"]),
    ("dcache-stale", "dcache", "mix", 1, 1, ["GlobalTensor::GetValue", "'workspace'"]),
    ("dcache-stale", "dcache", "mix", 1, 2, ["kernel exit", "data cache"]),
    ("race-read-after-write", "scalar_ub", "aiv", 1, 1, ["GetValue", "PIPE_V -> AIV0 PIPE_S"]),
    ("race-read-after-write", "scalar_ub", "aiv", 1, 2, ["DataCopy", "PIPE_S -> AIV0 PIPE_MTE3"]),
    ("not-simulated", "not_simulated", "aic", 1, 1, ["LoadData", "addrMode"]),
]
TWINS = sorted({(kernel, kind, blocks) for _, kernel, kind, blocks, _, _ in CASES if blocks <= 24})


@pytest.mark.parametrize(
    ("rule", "kernel", "kind", "blocks", "variant", "parts"), CASES, ids=[f"{c[0]}-{c[1]}-{c[4]}" for c in CASES]
)
def test_broken_rule_is_named(rule: str, kernel: str, kind: str, blocks: int, variant: int, parts: list[str]) -> None:
    text = broken(rule, kernel, kind, variant, blocks)
    for part in parts:
        assert part in text, text


@pytest.mark.parametrize(("kernel", "kind", "blocks"), TWINS, ids=[t[0] for t in TWINS])
def test_kept_rule_gives_no_finding(kernel: str, kind: str, blocks: int) -> None:
    assert run(kernel, kind, 0, blocks).findings == []


def test_every_rule_has_a_case() -> None:
    assert {case[0] for case in CASES} == {rule for rule in RULES if not rule.startswith("hccl-")}


def test_rows_are_complete() -> None:
    for row in RULES.values():
        assert row["severity"] in ("error", "hazard", "warning")
        assert len(row["statement"]) > 20
        assert row["page"]


@pytest.mark.parametrize("threads", [1, 2])
def test_mode_0_counts_sets_by_turn(threads: int) -> None:
    assert run("run_ahead", "mix", 0, 3, threads).findings == []


def test_atomic_sums_do_not_depend_on_threads() -> None:
    one = run("race_atomic", "mix", 0, 8, 1).out
    assert one[0] > 16
    for _ in range(5):
        assert np.array_equal(run("race_atomic", "mix", 0, 8, 2).out, one)


def test_cross_group_read_sees_what_sync_all_ordered() -> None:
    assert run("race_groups", "mix", 0, 2, 2).findings == []


def test_padding_value_reaches_memory() -> None:
    out = run("pad_filler", "aiv", 2).out[:32].reshape(4, 8)
    assert np.array_equal(out[:, :5], np.full((4, 5), 2.0, np.float32))
    assert np.array_equal(out[:, 5:], np.zeros((4, 3), np.float32))


def test_scalar_access_to_ub() -> None:
    assert run("scalar_ub", "aiv", 0).out[:5].tolist() == [1, 1, 1, 2, 1]


def test_data_cache_publishes_a_line() -> None:
    assert run("dcache", "mix", 0).out.view(np.uint32)[0] == 7
