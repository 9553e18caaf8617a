"""Standard attention, the benchmarks' baseline, on small shapes, for the mutation benchmark: o against float64."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .._native import core
from ..soc_config import load_soc
from .kernel_cases import FRACTAL, SOC, Fingerprint, Verdict, compare, fingerprint, kind_of_error
from .standard_attention import standard_attention

TOLERANCE = 2e-2  # S and P are rounded to fp16


@dataclass(frozen=True)
class StandardCase:
    heads: int
    s_q: int
    s_kv: int
    d: int
    causal: bool = False

    def __str__(self) -> str:
        return f"standard h{self.heads} s{self.s_q}x{self.s_kv} d{self.d}" + " causal" * self.causal

    def run(self, library: str | Path = "", checks: bool = True, trace: bool = False) -> Verdict:
        rng = np.random.default_rng(0)
        rows = (self.s_q, self.s_kv, self.s_kv)
        q, k, v = (rng.standard_normal((self.heads, s, self.d)).astype(np.float16) for s in rows)
        options: dict[str, Any] = {"threads": 1, "checks": checks, "kernel_library": str(library)}
        options |= {"listing": True} if trace else {}
        try:
            o, reports = standard_attention(q, k, v, _soc(), self.causal, options)
        except core().SimulatorError as error:
            return Verdict(kind_of_error(str(error)), str(error))
        hazards = [text for report in reports for text in report["hazard_texts"]]
        if hazards:
            return Verdict("hazard", hazards[0])
        wrong = compare("o", o, self._expected(q, k, v), TOLERANCE)
        # Both products multiply whole fractals of rows; of keys and head dim whole ones, too.
        padded = [-(-size // FRACTAL) * FRACTAL for size in (self.s_q, self.s_kv, self.d)]
        planned = self.heads * padded[0] * padded[1] * padded[2]
        for report in (reports[0], reports[2]):
            if report["cube_macs"] != planned:
                wrong = wrong or Verdict("work", f"{report['cube_macs']:.0f} multiplications, {planned} planned")
        return wrong or Verdict("clean", "", _joined([fingerprint([o], report) for report in reports]))

    def _expected(self, *operands: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        q, k, v = (x.astype(np.float64) for x in operands)
        s = q @ k.swapaxes(1, 2) * self.d**-0.5
        if self.causal:
            hidden = np.arange(self.s_kv) > np.arange(self.s_q)[:, None] + self.s_kv - self.s_q
            s[:, hidden] = -np.inf
        p = np.exp(s - s.max(-1, keepdims=True))
        return (p / p.sum(-1, keepdims=True)) @ v


def _joined(prints: list[Fingerprint]) -> Fingerprint:
    outputs, listing, work = ("+".join(getattr(x, name) for x in prints) for name in ("outputs", "listing", "work"))
    return Fingerprint(outputs, listing, work, sum(x.instructions for x in prints))


@cache
def _soc() -> dict[str, Any]:
    return load_soc(SOC).values()


STANDARD_CASES = (
    StandardCase(2, 48, 64, 16),
    StandardCase(3, 100, 300, 40),
    StandardCase(3, 100, 300, 40, causal=True),
    StandardCase(1, 40, 1500, 64, causal=True),  # rows of two segments
    StandardCase(49, 65, 70, 16, causal=True),  # more strips than vector cores
    StandardCase(1, 1, 1, 1),
)


def bounded_standard_cases() -> Iterator[StandardCase]:
    """Every number of keys around whole fractals and repeats, one segment and more; rows around a strip."""
    for causal in (False, True):
        for s_kv in (1, 15, 16, 17, 63, 64, 65, 127, 129, 1023, 1024, 1025, 2047, 2049):
            yield StandardCase(2, min(s_kv, 20), s_kv, 16, causal)
        for s_q in (1, 7, 8, 9, 63, 64, 65, 130):
            yield StandardCase(3, s_q, 200, 24, causal)
