"""Runs a build of the attention kernel on small shapes of the simulated SoC and says how a fault in it comes to light.

The reference is float64 attention in numpy: no torch, so that worker processes start fast.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._native import core
from ..soc_config import load_soc
from . import kernel_reference
from .kernel_reference import from_bits, to_bits

SOC = "ascend910b2"
# A tiling so small that a few hundred keys pass every ring several times.
SMALL_TILING = {
    "block_q": 32,
    "block_kv": 256,
    "ring": 3,
    "preload": 2,
    "l1_tile_kv": 128,
    "l0_tile_kv": 64,
    "strip_rows": 8,
    "mask_block": 256,
    "block_dim": 1,
}
# Largest error of a right result: rounding of P and O at |O| < 4, and fp32 sums for lse; where S crosses in 16 bits
# also the rounding of scores of up to 64 before scaling.
O_TOLERANCE = {"fp16": 6e-3, "bf16": 5e-2}
LSE_TOLERANCE = 1e-4
EXCHANGE_TOLERANCE = {"fp32": 0.0, "fp16": 6e-3, "bf16": 5e-2}
MASK_GAP = 3  # elements between the rows of a mask tensor
FRACTAL = 16  # side of the matrices that the cube multiplies
FAR_SCORE = -200.0  # exp(FAR_SCORE) is 0 in fp32
# Lines of the simulator's listing that order instructions and do nothing else.
SYNC_LINES = ("set_flag ", "wait_flag ", "pipe_barrier ", "ffts_cross_core_sync ", "wait_flag_dev ")


@dataclass(frozen=True)
class Case:
    """One shape, its tiling overrides, and the keys in use of each batch entry where they differ.

    far: all scores lie near FAR_SCORE, so that a row maximum that starts too high loses every probability.
    apart: scores of even heads lie near -FAR_SCORE, of odd ones near FAR_SCORE, so that one head's row maximum is wrong
    for the next.
    beyond: every score is 2^17 before scaling, which fp16 does not reach; d is 16.
    """

    s_q: int
    s_kv: int
    d: int = 16
    h_q: int = 1
    h_kv: int = 1
    b: int = 1
    causal: bool = False
    used: tuple[int, ...] = ()
    far: bool = False
    apart: bool = False
    beyond: bool = False
    d_v: int = 0  # 0: d
    window: tuple[int, int] = (-1, -1)
    softcap: float = 0.0
    alibi: bool = False
    sinks: bool = False
    lens: tuple[tuple[int, int], ...] = ()  # (queries, keys) of packed sequences; s_q and s_kv are then the longest
    mask: tuple[str, str] = (
        "",
        "",
    )  # type of a mask tensor (bool, add, fp32) and those of its dimensions bhqk that vary
    dtype: str = "fp16"
    layout: str = "BSND"
    tiling: Mapping[str, Any] = field(default_factory=lambda: SMALL_TILING)

    def __str__(self) -> str:
        text = f"b{self.b} h{self.h_q}/{self.h_kv} s{self.s_q}x{self.s_kv} d{self.d}"
        text += " causal" if self.causal else ""
        text += f" used{list(self.used)}" if self.used else ""
        text += (
            " far" * self.far + f" dv{self.d_v}" * bool(self.d_v) + f" window{self.window}" * (self.window != (-1, -1))
        )
        text += (
            " apart" * self.apart
            + " beyond" * self.beyond
            + f" cap{self.softcap}" * bool(self.softcap)
            + " alibi" * self.alibi
            + " sinks" * self.sinks
        )
        text += f" lens{list(self.lens)}" * bool(self.lens) + f" mask {'-'.join(self.mask)}" * bool(self.mask[0])
        text += f" {self.dtype}" * (self.dtype != "fp16") + f" {self.layout}" * (self.layout != "BSND")
        changed = {key: value for key, value in self.tiling.items() if SMALL_TILING.get(key) != value}
        return text + "".join(f" {key}={value}" for key, value in changed.items())

    def __hash__(self) -> int:
        return hash(str(self))

    def run(self, library: str | Path = "", checks: bool = True, trace: bool = False) -> "Verdict":
        return run_case(self, library, checks, trace)


@dataclass(frozen=True)
class Fingerprint:
    """Digests of a run: the outputs' bits, what every core issued, and the same without flags and barriers."""

    outputs: str
    listing: str = ""
    work: str = ""
    instructions: int = 0


@dataclass(frozen=True)
class Verdict:
    """How a run ended: `how` is 'clean' or the kind of evidence against the kernel."""

    how: str
    text: str = ""
    fingerprint: Fingerprint | None = None

    @property
    def caught(self) -> bool:
        return self.how != "clean"


@dataclass(frozen=True)
class Prepared:
    """A case's operands, plan and expected results."""

    inputs: dict[str, npt.NDArray[Any]]
    plan: dict[str, Any]
    soc: dict[str, Any]
    o: npt.NDArray[np.float64]
    lse: npt.NDArray[np.float64]


@cache
def _soc() -> dict[str, Any]:
    return load_soc(SOC).values()


def _qkv(case: Case, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    """Bits of q, k and v, (b, s, h, d) or (tokens, h, d)."""
    rows = ((sum(x for x, _ in case.lens),), (sum(x for _, x in case.lens),))
    token_q, token_kv = rows if case.lens else ((case.b, case.s_q), (case.b, case.s_kv))
    q = rng.standard_normal((*token_q, case.h_q, case.d)) * 2  # scores that move the row maximum
    k, v = (rng.standard_normal((*token_kv, case.h_kv, d)) for d in (case.d, case.d_v or case.d))
    if case.far:
        far = math.sqrt(-FAR_SCORE / math.sqrt(case.d))
        q, k = q / 4 + far, k / 4 - far
    if case.apart:
        far = math.sqrt(-FAR_SCORE / math.sqrt(case.d))
        sign = 1 - 2 * (np.arange(case.h_q) % 2)
        q, k = q / 4 + far * sign[:, None], k / 4 + far
    if case.beyond:
        q, k = np.full_like(q, 64), np.full_like(k, 128)
    return {name: to_bits(x, case.dtype) for name, x in (("q", q), ("k", k), ("v", v))}


def _mask(case: Case, rng: np.random.Generator) -> npt.NDArray[Any]:
    """The mask tensor, broadcast to (b, h, s_q, s_kv); its rows are no whole blocks apart, some hide every key."""
    sizes = {"b": case.b, "h": case.h_q, "q": case.s_q, "k": case.s_kv}
    kind, dims = case.mask
    shape = [size if dim in dims else 1 for dim, size in sizes.items()]
    shape[3] = case.s_kv
    shown = rng.random((*shape[:3], shape[3] + MASK_GAP)) < 0.6
    shown[:, :, shape[2] // 2 :: 7] &= shape[2] == 1
    if kind == "bool":
        stored: npt.NDArray[Any] = shown
    else:
        values = np.where(shown, rng.standard_normal(shown.shape), -np.inf)
        stored = values.astype(np.float32) if kind == "fp32" else to_bits(values, case.dtype)
    return np.broadcast_to(stored[..., : case.s_kv], tuple(sizes.values()))


def _problem(case: Case, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    names = ("b", "s_q", "s_kv", "h_q", "h_kv", "d", "causal", "dtype", "layout")
    problem = {name: getattr(case, name) for name in names}
    problem |= {"has_seq_used_kv": bool(case.used), "d_v": case.d_v or case.d}
    problem |= {"window_left": case.window[0], "window_right": case.window[1], "softcap": float(case.softcap)}
    problem |= {"has_alibi": case.alibi, "has_sinks": case.sinks}
    if case.lens:
        problem |= {"has_cu_seqlens": True, "total_q": len(inputs["q"]), "layout": "TND", "b": len(case.lens)}
    if case.mask[0]:
        mask = inputs["attn_mask"]
        problem |= {"mask_dtype": {"add": case.dtype}.get(case.mask[0], case.mask[0])}
        problem |= {"mask_strides": [stride // mask.itemsize for stride in mask.strides]}
    return problem


@lru_cache(maxsize=1024)  # small cases: some 100 KB each
def prepare(case: Case) -> Prepared:
    rng = np.random.default_rng(0)
    inputs: dict[str, Any] = _qkv(case, rng)
    if case.used:
        inputs["seqused_k"] = np.array(case.used, np.int32)
    for name, i in (("cu_seqlens_q", 0), ("cu_seqlens_k", 1)):
        if case.lens:
            inputs[name] = np.cumsum([0, *(x[i] for x in case.lens)], dtype=np.int32)
    if case.alibi:
        inputs["alibi_slopes"] = np.linspace(0.02, 0.2, case.h_q, dtype=np.float32)
    if case.sinks:
        inputs["sinks"] = np.linspace(-1, 3, case.h_q, dtype=np.float32)
    if case.mask[0]:
        inputs["attn_mask"] = _mask(case, rng)
    soc = _soc()
    plan = core().plan(_problem(case, inputs), soc, dict(case.tiling))
    tiling = plan["tiling"]
    o, lse = kernel_reference.attention(inputs, case)
    if tiling["mask_tensor"] == "windows":
        right = 0 if case.causal else case.window[1]
        inputs["attn_mask"] = core().windows_mask(case.s_q, case.s_kv, case.window[0], right)
    inputs["mask"] = np.ascontiguousarray(core().device_constants(tiling["mask_block"], tiling["mask"]))
    if case.layout == "BNSD":
        inputs |= {name: np.ascontiguousarray(inputs[name].swapaxes(1, 2)) for name in "qkv"}
        o = o.swapaxes(1, 2)
    return Prepared(inputs, plan, soc, o, lse)


def extent_bytes(array: npt.NDArray[Any]) -> int:
    """From the first element to the end of the last, whatever the strides."""
    return sum((n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True)) + array.itemsize


def kind_of_error(text: str) -> str:
    """The kind of evidence behind a refusal of the simulator."""
    if "deadlock" in text:
        return "deadlock"
    if "nobody has written" in text:
        return "poison"
    if "set twice" in text or "still set at kernel exit" in text or "sets left" in text or "sets without" in text:
        return "flag rule"
    return "refusal"


def compare(name: str, got: npt.NDArray[Any], expected: npt.NDArray[Any], tolerance: float) -> Verdict | None:
    if np.isnan(got).any():
        return Verdict("poison", f"{name} has {int(np.isnan(got).sum())} elements that are NaN or were never written")
    with np.errstate(invalid="ignore"):
        error = np.where(got == expected, 0, np.abs(got.astype(np.float64) - expected)).max()
    if error > tolerance:
        return Verdict("wrong result", f"{name} is off by {error:.3g}, more than {tolerance:g}")
    return None


def run_case(
    case: Case, library: str | Path = "", checks: bool = True, trace: bool = False, threads: int = 1
) -> Verdict:
    """Runs the kernel of `library` (the package's own if empty) on one case."""
    prepared = prepare(case)
    o = to_bits(np.full(prepared.o.shape, np.nan), case.dtype)
    lse = np.full(prepared.lse.shape, np.nan, np.float32)
    arrays = prepared.inputs | {"o": o, "lse": lse}
    operands = {name: (array.ctypes.data, extent_bytes(array)) for name, array in arrays.items()}
    options: dict[str, Any] = {"threads": threads, "checks": checks, "kernel_library": str(library)}
    if trace:
        options["listing"] = True
    plan = prepared.plan
    try:
        report = core().simulate_flash_attention(
            prepared.soc, plan["tiling_bytes"], plan["block_dim"], operands, plan["workspace_bytes"], options
        )
    except core().SimulatorError as error:
        return Verdict(kind_of_error(str(error)), str(error))
    if report["hazards"]:
        return Verdict("hazard", report["hazard_texts"][0])
    values = from_bits(o, case.dtype)
    rounding = EXCHANGE_TOLERANCE[plan["tiling"]["s_exchange"]]
    wrong = compare("o", values, prepared.o, O_TOLERANCE[case.dtype] + rounding) or compare(
        "lse", lse, prepared.lse, LSE_TOLERANCE + rounding
    )
    wrong = wrong or check_work(case, plan, report["group_cube_macs"])
    return wrong or Verdict("clean", "", fingerprint([o, lse], report))


def check_work(case: Case, plan: Mapping[str, Any], macs: list[float]) -> Verdict | None:
    """Whether each core group multiplied exactly what op_host's own walk gives it: no block less, none too many."""
    tiling = plan["tiling"]
    lengths = list(case.lens)
    if case.used:
        lengths = [(case.s_q, min(max(used, 0), case.s_kv)) for used in case.used]
    products = (("score_fractals", "head_dim_qk"), ("output_fractals", "head_dim_v"))
    for group, work in enumerate(core().group_work(plan["tiling_bytes"], lengths)):
        planned = sum(work[count] * FRACTAL**3 * -(-tiling[dim] // FRACTAL) for count, dim in products)
        if macs[group] != planned:
            return Verdict("work", f"group {group} made {macs[group]:.0f} multiplications of the {planned} planned")
    return None


def fingerprint(outputs: list[npt.NDArray[Any]], report: Mapping[str, Any]) -> Fingerprint:
    bits = hashlib.sha256(b"".join(array.tobytes() for array in outputs)).hexdigest()
    if "listing" not in report:
        return Fingerprint(bits)
    listing, work = hashlib.sha256(), hashlib.sha256()
    for name, lines in sorted(report["listing"].items()):
        for digest, kept in ((listing, lines), (work, [line for line in lines if not line.startswith(SYNC_LINES)])):
            digest.update("\n".join([name, *kept, ""]).encode())
    return Fingerprint(bits, listing.hexdigest(), work.hexdigest(), report["instructions"])
