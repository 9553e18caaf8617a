"""Runs a kernel twice on the simulated machine: through our Ascend C layer, and compiled against genuine headers with
the simulator's instructions below them. Outputs and instruction traces must be equal.

A new kernel is a row of CASES: a PlainCase if its tiling is a row of 32-bit integers, else a class with launch().
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from toolchain import CORES, Toolchain

from fastattention_npu import _core
from fastattention_npu.bench.append_cases import AppendCase
from fastattention_npu.bench.standard_attention import standard_tiling
from fastattention_npu.soc_config import load_soc

SHOWN_BEFORE = 4  # trace lines before the first difference
SHOWN_AFTER = 3
SOC = load_soc("ascend910b2").values()
# Headers read GM scalars through a plain pointer, which leaves no instruction behind.
UNSEEN = re.compile(r"scalar_load ")


@dataclass(frozen=True)
class Launch:
    """What a kernel of _core.kernels() is run on."""

    kernel: str
    tiling: bytes
    block_dim: int
    arrays: dict[str, np.ndarray]
    outputs: tuple[str, ...]  # names of arrays, full of NaN before the run
    workspace_bytes: int = 0
    checks: bool = True


class Case(Protocol):
    def launch(self) -> Launch: ...


@dataclass(frozen=True)
class PlainCase:
    """A kernel whose tiling is a row of 32-bit integers, over operands of (shape, dtype)."""

    kernel: str
    tiling: tuple[int, ...]
    block_dim: int = 1
    inputs: dict[str, tuple[Sequence[int], str]] = field(default_factory=dict)
    outputs: dict[str, tuple[Sequence[int], str]] = field(default_factory=dict)
    checks: bool = True  # False: a calibration kernel, which computes with whatever is there

    def __str__(self) -> str:
        return f"{self.kernel} {'x'.join(map(str, self.tiling))} on {self.block_dim}"

    def launch(self) -> Launch:
        random = np.random.default_rng(sum(self.tiling))
        arrays = {name: narrow(random.standard_normal(shape), dtype) for name, (shape, dtype) in self.inputs.items()}
        arrays |= {name: narrow(np.full(shape, np.nan), dtype) for name, (shape, dtype) in self.outputs.items()}
        tiling = struct.pack(f"<{len(self.tiling)}I", *self.tiling)
        return Launch(self.kernel, tiling, self.block_dim, arrays, tuple(self.outputs), checks=self.checks)


def matmul(kernel: str, m: int, n: int, k: int, trans_b: bool = False, base: Sequence[int] = (64, 64, 32)) -> PlainCase:
    """Groups of 128 x 96 of c; L1 slots of two base tiles of a and three of b."""
    dtype, _, out = kernel.removeprefix("matmul_").partition("_")
    grid_m, grid_n = -(-m // 128), -(-n // 96)
    tiling = (m, n, k, int(trans_b), 128, 96, grid_m, *base, 2, 3)
    inputs = {"a": ((m, k), dtype), "b": ((n, k) if trans_b else (k, n), dtype)}
    return PlainCase(kernel, tiling, grid_m * grid_n, inputs, {"c": ((m, n), out or dtype)})


def calibration(kernel: str, tiling: tuple[int, ...], block_dim: int = 1, **elems: int) -> PlainCase:
    """A kernel of op_kernel/microbench over fp16 operands of so many elements; z is an output."""
    operands = {name: ((count,), "fp16") for name, count in elems.items()}
    outputs = {name: operands.pop(name) for name in ("z",) if name in operands}
    return PlainCase(kernel, tiling, block_dim, operands, outputs, checks=False)


@dataclass(frozen=True)
class StandardCase:
    """One of the three launches of standard attention, over operands of random numbers."""

    step: str  # scores, softmax or output
    heads: int
    s_q: int
    s_kv: int
    d: int
    causal: bool = False
    dtype: str = "fp16"

    def __str__(self) -> str:
        words = f"h{self.heads} q{self.s_q} kv{self.s_kv} d{self.d} {self.dtype}" + " causal" * self.causal
        return f"standard_{self.step} {words}"

    def launch(self) -> Launch:
        h = {"b": 1, "h_q": self.heads, "h_kv": self.heads}
        tiling = standard_tiling(
            h | {"s_q": self.s_q, "s_kv": self.s_kv, "d": self.d, "causal": self.causal, "dtype": self.dtype}, SOC
        )
        queries, keys, pairs = (self.s_q, self.d), (self.s_kv, self.d), (self.s_q, self.s_kv)
        shapes = {"q": queries, "k": keys, "v": keys, "s": pairs, "p": pairs, "o": queries}
        names = {"scores": "qks", "softmax": "sp", "output": "pvo"}[self.step]
        random = np.random.default_rng(self.s_kv)
        arrays = {n: narrow(random.standard_normal((self.heads, *shapes[n])), self.dtype) for n in names[:-1]}
        arrays[names[-1]] = narrow(np.full((self.heads, *shapes[names[-1]]), np.nan), self.dtype)
        kernel = f"standard_{self.step}_{self.dtype}"
        return Launch(kernel, tiling.packed, tiling.block_dim, arrays, (names[-1],))


@dataclass(frozen=True)
class AttentionCase:
    b: int
    s_q: int
    s_kv: int
    h_q: int
    h_kv: int
    d: int
    causal: bool = False
    dtype: str = "fp16"
    used: tuple[int, ...] = ()  # keys of each batch entry
    features: tuple[tuple[str, Any], ...] = ()  # other keys of the problem
    tiling: tuple[tuple[str, Any], ...] = ()  # overrides

    def __str__(self) -> str:
        shape = f"b{self.b} q{self.s_q} kv{self.s_kv} h{self.h_q}/{self.h_kv} d{self.d} {self.dtype}"
        words = [*(["causal"] if self.causal else []), *([f"used {self.used}"] if self.used else [])]
        return " ".join([shape, *words, *(f"{key}={value}" for key, value in (*self.features, *self.tiling))])

    def problem(self) -> dict[str, Any]:
        sizes = {key: getattr(self, key) for key in ("b", "s_q", "s_kv", "h_q", "h_kv", "d", "causal", "dtype")}
        return {**sizes, "has_seq_used_kv": bool(self.used), **dict(self.features)}

    def launch(self) -> Launch:
        plan = _core.plan(self.problem(), SOC, dict(self.tiling))
        arrays = operands(self, plan)
        outputs = ("o", "lse")
        return Launch(
            "flash_attention_fwd", plan["tiling_bytes"], plan["block_dim"], arrays, outputs, plan["workspace_bytes"]
        )


@dataclass(frozen=True)
class CacheCase:
    """append_kv_cache with the tensors of a case of the mutation benchmark; caches start as NaN."""

    case: AppendCase

    def __str__(self) -> str:
        return str(self.case)

    def launch(self) -> Launch:
        problem, arrays = self.case.prepare()
        plan = _core.plan_append(problem, SOC)
        outputs = ("k_cache", "v_cache", "lengths")
        return Launch("append_kv_cache", plan["tiling_bytes"], plan["block_dim"], arrays, outputs)


CASES: tuple[Case, ...] = (
    AttentionCase(1, 128, 128, 1, 1, 64),
    AttentionCase(1, 1, 7, 2, 2, 16, dtype="bf16"),
    AttentionCase(1, 7, 1, 2, 2, 16, causal=True),  # rows without any visible key
    AttentionCase(1, 128, 300, 2, 1, 128, causal=True, dtype="bf16"),
    AttentionCase(2, 129, 500, 4, 2, 77, causal=True),
    AttentionCase(2, 200, 600, 2, 2, 128, causal=True, used=(0, 577)),
    AttentionCase(1, 600, 600, 2, 2, 64, features=(("window_left", 100), ("window_right", 30))),
    AttentionCase(1, 300, 300, 2, 2, 256, features=(("softcap", 20.0), ("d_v", 40))),
    AttentionCase(2, 150, 150, 2, 2, 64, causal=True, features=(("has_sinks", True), ("has_alibi", True))),
    AttentionCase(
        3, 130, 130, 2, 1, 64, causal=True, features=(("has_cu_seqlens", True), ("total_q", 231), ("layout", "TND"))
    ),
    AttentionCase(1, 16, 4000, 1, 1, 64),  # keys of one task split between groups
    AttentionCase(2, 5, 300, 8, 2, 64, causal=True, features=(("has_sinks", True),)),  # heads packed into one block
    AttentionCase(1, 100, 300, 2, 2, 64, causal=True, tiling=(("mask", "tiling"),)),
    AttentionCase(1, 100, 300, 2, 2, 64, causal=True, tiling=(("mask", "full"),)),
    AttentionCase(1, 100, 300, 2, 2, 80, tiling=(("s_exchange", "fp16"),)),
    AttentionCase(1, 100, 300, 2, 2, 40, causal=True, dtype="bf16", tiling=(("s_exchange", "bf16"),)),
    AttentionCase(2, 50, 330, 2, 2, 32, features=(("mask_dtype", "bool"), ("mask_strides", (16500, 0, 330, 1)))),
    AttentionCase(2, 50, 330, 2, 2, 32, features=(("mask_dtype", "bool"), ("mask_strides", (330, 0, 0, 1)))),
    AttentionCase(
        2, 50, 330, 2, 2, 32, dtype="bf16", features=(("mask_dtype", "bf16"), ("mask_strides", (0, 0, 330, 1)))
    ),
    AttentionCase(1, 50, 330, 2, 2, 32, features=(("mask_dtype", "fp32"), ("mask_strides", (0, 0, 0, 1)))),
    matmul("matmul_fp16", 200, 300, 208),
    matmul("matmul_fp16_fp32", 96, 77, 100, trans_b=True),
    matmul("matmul_bf16", 1, 130, 300),
    matmul("matmul_bf16_fp32", 257, 64, 17, base=(128, 32, 16)),
    *(calibration("vector_bench", (kind, 3, 4, 65536, 0, 32768, 1, 8, 1, 8), x=1024) for kind in range(9)),
    calibration("copy_bench", (128, 512, 16, 256, 0, 32, 0, 0, 1, 2, 2), 2, x=65536),
    calibration("copy_bench", (128, 512, 64, 64, 1, 64, 1, 1, 2, 1, 2), 2, x=65536),
    calibration("add_bench", (65536, 4096, 4, 2, 8192, 16384, 65536), 2, x=65536, y=65536, z=65536),
    CacheCase(AppendCase((14, 15), 20, 6, 16, group=3)),
    CacheCase(AppendCase((3, 0), 9, 5, 16, heads=3, by_head=True, indexed=True)),
    calibration("mmad_bench", (48, 64, 32, 3, 0)),
    calibration("mmad_bench", (48, 64, 32, 3, 1)),
    *(StandardCase(step, 3, 100, 300, 40, causal=True) for step in ("scores", "softmax", "output")),
    # Longer rows join their segments by scalars in UB, which the headers reach through a plain pointer.
    *(StandardCase(step, 1, 40, 1000, 64, dtype="bf16") for step in ("scores", "softmax", "output")),
)


def simulator_library() -> Path:
    """The library with the instructions, as this process has loaded it."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        if line.rpartition("/")[2].startswith("libascend_sim."):
            return Path(line.split(maxsplit=5)[5])
    raise RuntimeError("libascend_sim is not loaded: build the package as a shared library")


def build(tools: Toolchain, sources: list[Path]) -> tuple[dict[str, Path], list[str]]:
    """One library for each kind of core, as CANN builds mixed kernels; what the compiler complains about."""
    libraries: dict[str, Path] = {}
    complaints: list[str] = []
    for core in CORES:
        objects = []
        for source in sources:
            objects.append(str(tools.work / f"{source.stem}.{core}.o"))
            errors = tools.compile(source, core, "over_isa.h", "-c", "-fPIC", "-O1", "-o", objects[-1])
            complaints += [f"{core} library: {error.text}" for error in errors]
        libraries[core] = tools.work / f"kernels_{core}.so"
        if not complaints:
            tools.link(libraries[core], [*objects, str(simulator_library())])
    return libraries, complaints


def operands(case: AttentionCase, plan: dict[str, Any]) -> dict[str, np.ndarray]:
    """Random inputs, outputs full of NaN, and what the case's features need."""
    features = dict(case.features)
    random = np.random.default_rng(case.s_kv)
    d_v = features.get("d_v", case.d)
    if features.get("has_cu_seqlens"):
        lengths = np.array([case.s_q, 1, features["total_q"] - case.s_q - 1])
        rows_q = rows_kv = (features["total_q"],)
        lse_shape: tuple[int, ...] = (case.h_q, features["total_q"])
    else:
        rows_q, rows_kv, lse_shape = (case.b, case.s_q), (case.b, case.s_kv), (case.b, case.h_q, case.s_q)
    arrays = {
        "q": narrow(random.standard_normal((*rows_q, case.h_q, case.d)), case.dtype),
        "k": narrow(random.standard_normal((*rows_kv, case.h_kv, case.d)), case.dtype),
        "v": narrow(random.standard_normal((*rows_kv, case.h_kv, d_v)), case.dtype),
        "o": narrow(np.full((*rows_q, case.h_q, d_v), np.nan), case.dtype),
        "lse": np.full(lse_shape, np.nan, np.float32),
        "mask": np.ascontiguousarray(_core.device_constants(plan["tiling"]["mask_block"], plan["tiling"]["mask"])),
    }
    if case.used:
        arrays["seqused_k"] = np.array(case.used, np.int32)
    if features.get("has_cu_seqlens"):
        arrays["cu_seqlens_q"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        arrays["cu_seqlens_k"] = arrays["cu_seqlens_q"].copy()
    if features.get("has_sinks"):
        arrays["sinks"] = random.standard_normal(case.h_q).astype(np.float32)
    if features.get("has_alibi"):
        arrays["alibi_slopes"] = random.uniform(0.1, 1, case.h_q).astype(np.float32)
    kind = plan["tiling"]["mask_tensor"]
    if kind != "none":
        size = case.b * case.s_q * case.s_kv  # as large as any strides of the cases ask
        values = random.standard_normal(size)
        dtype = features.get("mask_dtype", "bool")
        arrays["attn_mask"] = (values < 1).astype(np.uint8) if dtype == "bool" else narrow(values, dtype)
    return arrays


def narrow(values: np.ndarray, dtype: str) -> np.ndarray:
    """fp32, fp16, or the upper half of fp32 as bf16's bits."""
    if dtype != "bf16":
        return values.astype({"fp32": np.float32, "fp16": np.float16}[dtype])
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def simulate(case: Case, options: dict[str, Any]) -> tuple[dict[str, Any], Launch]:
    launch = case.launch()
    operands = {name: (array.ctypes.data, array.nbytes) for name, array in launch.arrays.items()}
    every_option = {"listing": True, "checks": launch.checks, **options}
    report = _core.simulate(
        launch.kernel, SOC, launch.tiling, launch.block_dim, operands, launch.workspace_bytes, every_option
    )
    return report, launch


def differences(
    case: Case, libraries: dict[str, Path], our_options: dict[str, Any] | None = None
) -> tuple[list[str], int]:
    """What differs between the two ways, and how many instructions were compared."""
    ours, our_launch = simulate(case, our_options or {})
    options = {f"kernel_library_{core}": str(path) for core, path in libraries.items()}
    options |= {key: value for key, value in (our_options or {}).items() if key == "checks"}
    genuine, genuine_launch = simulate(case, options)
    found = [
        f"{case}: {name} differs"
        for name in our_launch.outputs
        if our_launch.arrays[name].tobytes() != genuine_launch.arrays[name].tobytes()
    ]
    if ours["hazards"] or genuine["hazards"]:
        found.append(f"{case}: hazards: {ours['hazard_texts'] + genuine['hazard_texts']}")
    count = 0
    for core in ours["listing"].keys() | genuine["listing"].keys():
        mine, theirs = (
            [line for line in report["listing"].get(core, []) if not UNSEEN.match(line)] for report in (ours, genuine)
        )
        count += len(mine)
        if mine != theirs:
            found.append(f"{case}: core {core}: {first_difference(mine, theirs)}")
    return found, count


def first_difference(mine: list[str], theirs: list[str]) -> str:
    at = next(i for i, (a, b) in enumerate(zip_longest(mine, theirs)) if a != b)
    lines = [f"instruction {at} of {len(mine)} (ours) and {len(theirs)} (headers)"]
    lines += [f"      {line}" for line in mine[max(0, at - SHOWN_BEFORE) : at]]
    lines += [f"  ours    {line}" for line in mine[at : at + SHOWN_AFTER]]
    lines += [f"  headers {line}" for line in theirs[at : at + SHOWN_AFTER]]
    return "\n".join(lines)
