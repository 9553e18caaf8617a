"""The matmul kernel on small shapes, for the mutation benchmark: c = a · b in fp32 against float64."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .._native import core
from ..soc_config import load_soc
from .kernel_cases import FRACTAL, SOC, Verdict, compare, fingerprint, kind_of_error

KERNEL = "matmul_fp16_fp32"
TOLERANCE = 1e-3  # fp32 sums of at most 1200 products of standard normal numbers
# Fields of the tiling struct after m, n, k and transB (op_kernel/matmul/tiling.h).
SMALL = {"core_m": 48, "core_n": 48, "grid_m": 1, "base_m": 32, "base_n": 32, "base_k": 16, "step_a": 2, "step_b": 3}
# Both slots of L0A, L0B and L0C fill their memory.
FULL_L0 = {**SMALL, "core_m": 300, "core_n": 300, "base_m": 128, "base_n": 128, "base_k": 128, "step_a": 1, "step_b": 1}
# One more slot of either operand in L1 does not fit.
FULL_L1 = {**FULL_L0, "base_m": 112, "base_k": 64, "step_a": 8, "step_b": 8}
WIDE = {**FULL_L0, "core_n": 600, "base_n": 256, "base_k": 64}


@dataclass(frozen=True)
class MatmulCase:
    m: int
    n: int
    k: int
    trans_b: bool = False
    full: bool = False
    wide: bool = False  # one accumulator fills L0C
    full_l1: bool = False

    def __str__(self) -> str:
        text = f"matmul m{self.m} n{self.n} k{self.k}" + " transB" * self.trans_b
        return text + " full L0" * self.full + " wide" * self.wide + " full L1" * self.full_l1

    def run(self, library: str | Path = "", checks: bool = True, trace: bool = False) -> Verdict:
        rng = np.random.default_rng(0)
        a = rng.standard_normal((self.m, self.k)).astype(np.float16)
        b = rng.standard_normal((self.n, self.k) if self.trans_b else (self.k, self.n)).astype(np.float16)
        c = np.full((self.m, self.n), np.nan, np.float32)
        fields = dict(FULL_L1 if self.full_l1 else WIDE if self.wide else FULL_L0 if self.full else SMALL)
        fields["grid_m"] = -(-self.m // fields["core_m"])
        groups = fields["grid_m"] * -(-self.n // fields["core_n"])
        tiling = struct.pack("12I", self.m, self.n, self.k, self.trans_b, *fields.values())
        arrays: dict[str, np.ndarray[Any, Any]] = {"a": a, "b": b, "c": c}
        operands = {name: (x.ctypes.data, x.nbytes) for name, x in arrays.items()}
        options: dict[str, Any] = {"threads": 1, "checks": checks, "kernel_library": str(library)}
        options |= {"listing": True} if trace else {}
        try:
            report = core().simulate(KERNEL, _soc(), tiling, groups, operands, 0, options)
        except core().SimulatorError as error:
            return Verdict(kind_of_error(str(error)), str(error))
        if report["hazards"]:
            return Verdict("hazard", report["hazard_texts"][0])
        right = b.T if self.trans_b else b
        wrong = compare("c", c, a.astype(np.float64) @ right.astype(np.float64), TOLERANCE)
        planned = self.planned_macs(fields)
        if report["cube_macs"] != planned:
            wrong = wrong or Verdict("work", f"{report['cube_macs']:.0f} multiplications, {planned} planned")
        return wrong or Verdict("clean", "", fingerprint([c], report))

    def planned_macs(self, fields: dict[str, int]) -> int:
        """Of all base tiles in whole fractals."""

        def padded(size: int, core: int, base: int) -> int:
            shares = [min(core, size - start) for start in range(0, size, core)]
            tiles = [min(base, share - at) for share in shares for at in range(0, share, base)]
            return sum(-(-tile // FRACTAL) * FRACTAL for tile in tiles)

        rows = padded(self.m, fields["core_m"], fields["base_m"])
        cols = padded(self.n, fields["core_n"], fields["base_n"])
        return rows * cols * (-(-self.k // FRACTAL) * FRACTAL)


@cache
def _soc() -> dict[str, Any]:
    return load_soc(SOC).values()


MATMUL_CASES = (
    MatmulCase(40, 40, 100),
    MatmulCase(100, 70, 130, trans_b=True),
    MatmulCase(33, 65, 200),
    MatmulCase(1, 1, 1),
    MatmulCase(300, 290, 300, full=True),
    MatmulCase(300, 290, 300, trans_b=True, full=True),
    MatmulCase(300, 600, 130, wide=True),
    MatmulCase(20, 128, 1200, full_l1=True),
    MatmulCase(20, 128, 1200, trans_b=True, full_l1=True),
)


def bounded_matmul_cases() -> Iterator[MatmulCase]:
    """Every depth up to twice the longer copy and one; every number of rows and of columns up to a core's share and
    one; both layouts of b."""
    for trans_b in (False, True):
        for k in range(1, 98):
            yield MatmulCase(20, 20, k, trans_b)
        for size in range(1, 50):
            yield MatmulCase(size, 20, 40, trans_b)
            yield MatmulCase(20, size, 40, trans_b)
        yield from (MatmulCase(260, 260, k, trans_b, full=True) for k in (128, 200, 256))
        yield MatmulCase(200, 600, 130, trans_b, wide=True)
