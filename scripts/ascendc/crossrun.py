"""Runs a kernel twice on the simulated machine: through our Ascend C layer, and compiled against genuine headers with
the simulator's instructions below them. Outputs and instruction traces must be equal.
"""

import re
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from toolchain import CORES, Toolchain

from fastattention_npu import _core
from fastattention_npu.soc_config import load_soc

SHOWN_BEFORE = 4  # trace lines before the first difference
SHOWN_AFTER = 3
# Headers read GM scalars through a plain pointer, which leaves no instruction behind.
UNSEEN = re.compile(r"scalar_load ")


@dataclass(frozen=True)
class Case:
    b: int
    s_q: int
    s_kv: int
    h_q: int
    h_kv: int
    d: int
    causal: bool
    seq_used_kv: tuple[int, ...] = ()

    def __str__(self) -> str:
        used = f" used {self.seq_used_kv}" if self.seq_used_kv else ""
        causal = " causal" if self.causal else ""
        return f"b{self.b} q{self.s_q} kv{self.s_kv} h{self.h_q}/{self.h_kv} d{self.d}{causal}{used}"


CASES = (
    Case(1, 128, 128, 1, 1, 64, False),
    Case(1, 1, 7, 2, 2, 16, False),
    Case(1, 7, 1, 2, 2, 16, True),  # rows without any visible key
    Case(1, 128, 300, 2, 1, 128, True),
    Case(2, 129, 500, 4, 2, 80, True),
    Case(2, 200, 600, 2, 2, 128, True, (0, 577)),
    Case(1, 1000, 1000, 2, 2, 64, True),
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


def simulate(case: Case, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    soc = load_soc("ascend910b2").values()
    problem = {
        **{key: getattr(case, key) for key in ("b", "s_q", "s_kv", "h_q", "h_kv", "d", "causal")},
        "dtype": "fp16",
        "has_seq_used_kv": bool(case.seq_used_kv),
    }
    plan = _core.plan(problem, soc, {})
    random = np.random.default_rng(case.s_kv)
    shapes = {
        "q": (case.b, case.s_q, case.h_q),
        "k": (case.b, case.s_kv, case.h_kv),
        "v": (case.b, case.s_kv, case.h_kv),
    }
    arrays = {name: random.standard_normal((*shape, case.d)).astype(np.float16) for name, shape in shapes.items()}
    arrays["o"] = np.full_like(arrays["q"], np.nan)
    arrays["lse"] = np.full((case.b, case.h_q, case.s_q), np.nan, np.float32)
    arrays["mask"] = np.ascontiguousarray(_core.m_mask(plan["tiling"]["mask_block"]))
    if case.seq_used_kv:
        arrays["seqused_k"] = np.array(case.seq_used_kv, np.int32)
    report = _core.simulate_flash_attention(
        soc,
        plan["tiling_bytes"],
        plan["block_dim"],
        {name: (array.ctypes.data, array.nbytes) for name, array in arrays.items()},
        plan["workspace_bytes"],
        {"listing": True, **options},
    )
    return report, arrays


def differences(
    case: Case, libraries: dict[str, Path], our_options: dict[str, Any] | None = None
) -> tuple[list[str], int]:
    """What differs between the two ways, and how many instructions were compared."""
    ours, our_arrays = simulate(case, our_options or {})
    options = {f"kernel_library_{core}": str(path) for core, path in libraries.items()}
    options["checks"] = (our_options or {}).get("checks", True)
    genuine, genuine_arrays = simulate(case, options)
    found = [
        f"{case}: {name} differs"
        for name in ("o", "lse")
        if our_arrays[name].tobytes() != genuine_arrays[name].tobytes()
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
