"""Faulty kernels for the canaries: each an edit of the sources that must match exactly once."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from fastattention_npu.bench.kernel_build import Edit
from fastattention_npu.bench.kernel_cases import SMALL_TILING, Case, Verdict

CAUSAL = Case(100, 300, causal=True)
M_MASK = Case(100, 300, causal=True, tiling=SMALL_TILING | {"mask": "tiling"})
PLAIN = Case(40, 600)
TASKS = Case(70, 600, h_q=2)  # six tasks of three blocks on one core group
# Both slots of L0C, 128 x 128 fp32 each, fill it to the last byte.
FULL_L0C = Case(128, 256, d=128, tiling=SMALL_TILING | {"block_q": 128, "l0_tile_kv": 128, "interleave": 0})
# Two query tiles a block, and keys that come into L1 128 at a time.
LOADED_TOGETHER = Case(
    256,
    304,
    causal=True,
    d=64,
    tiling=SMALL_TILING | {"block_q": 256, "l0_tile_q": 128, "l0_tile_kv": 128, "l1_tile_kv": 128},
)


@dataclass(frozen=True)
class Mutant:
    """An edit, the case that exercises it, and the evidence (kernel_cases.Verdict.how) and words that must come up."""

    edit: Edit
    case: Case
    how: str
    words: str


MUTANTS = {
    "mask window one row off": Mutant(
        Edit(
            "flash_attention/mask_window.h",
            "static_cast<uint32_t>(col + delta)",
            "static_cast<uint32_t>(col + delta + 1)",
        ),
        M_MASK,
        "wrong result",
        "off by",
    ),
    "a row's last key one further": Mutant(
        Edit(
            "flash_attention/window_mask.h",
            "Within(block.deltaRight + token + 1, end)",
            "Within(block.deltaRight + token + 2, end)",
        ),
        CAUSAL,
        "wrong result",
        "off by",
    ),
    "dropped WaitFlag": Mutant(
        Edit("common/pipeline.h", "{ AscendC::WaitFlag<READY>(EventOf(slot)); }", "{ static_cast<void>(slot); }"),
        PLAIN,
        "flag rule",
        "without a wait",
    ),
    "dropped WaitFlag and its SetFlag": Mutant(
        Edit(
            "flash_attention/vector_stages.h",
            "            ringS_.Publish(slot);\n            ringS_.Await(slot);\n",
            "",
        ),
        PLAIN,
        "hazard",
        "PIPE_MTE2 -> AIV0 PIPE_V",
    ),
    "dropped PipeBarrier": Mutant(
        Edit(
            "flash_attention/vector_stages.h",
            "        Ordered();\n        AscendC::Min(shift",
            "        AscendC::Min(shift",
        ),
        PLAIN,
        "hazard",
        "PipeBarrier<PIPE_V>",
    ),
    "buffer one block too large": Mutant(
        Edit(
            "flash_attention/storage.h",
            "t.l0TileQ * colsC * FLOAT_BYTES, STAGES, L0C_FRACTAL_BYTES",
            "t.l0TileQ * colsC * FLOAT_BYTES + L0C_FRACTAL_BYTES, STAGES, L0C_FRACTAL_BYTES",
        ),
        FULL_L0C,
        "refusal",
        "L0C",
    ),
    "query tile ends within loaded keys": Mutant(
        Edit(
            "flash_attention/visible_columns.h",
            "step = MaxOf(t.l0TileKv, REPEAT_FP32_ELEMS);",
            "step = REPEAT_FP32_ELEMS;",
        ),
        LOADED_TOGETHER,
        "wrong result",
        "off by",
    ),
    "wrong ifTranspose": Mutant(
        Edit("common/cube_tiles.h", "p.ifTranspose = true;", "p.ifTranspose = false;"), PLAIN, "wrong result", "off by"
    ),
    "stale ring slot": Mutant(
        Edit(
            "flash_attention/output_steps.h",
            "ProbabilityOffset(t, block_, loadRow_, loadCol_)",
            "ProbabilityOffset(t, [&] { auto b = block_; b.index += t.ring - 1; return b; }(), loadRow_, loadCol_)",
        ),
        TASKS,
        "poison",
        "nobody has written",
    ),
    "stale ring slot in the softmax": Mutant(
        Edit(
            "flash_attention/vector_stages.h",
            "return Ub<float>(ub_.rescale, block.index % tiling_->ring);",
            "return Ub<float>(ub_.rescale, block.index % (tiling_->ring - 1));",
        ),
        TASKS,
        "wrong result",
        "off by",
    ),
    "missing reverse flag": Mutant(
        Edit("common/pipeline.h", "            AscendC::SetFlag<FREE>(EventOf(i));\n", ""),
        PLAIN,
        "deadlock",
        "waits for",
    ),
    "odd vector core silent": Mutant(
        Edit(
            "flash_attention/vector_stages.h",
            "        AscendC::CrossCoreSetFlag<2, PIPE_MTE3>(P_READY);",
            "        if (share.rows != 0) {\n            AscendC::CrossCoreSetFlag<2, PIPE_MTE3>(P_READY);\n        }",
        ),
        Case(5, 600),
        "deadlock",
        "cross-core flag",
    ),
}


@dataclass(frozen=True)
class Misbehaving:
    """A case whose run never ends, or takes its process with it."""

    manner: str

    def run(self, library: str | Path, checks: bool, trace: bool) -> Verdict:
        if self.manner == "spin":
            time.sleep(600)
        if self.manner == "crash":
            os._exit(1)
        return Verdict("clean")
