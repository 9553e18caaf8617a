"""The append_kv_cache kernel on small caches, for the mutation benchmark: every byte around the caches is compared."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._native import core
from ..soc_config import load_soc
from .kernel_cases import SOC, Verdict, fingerprint, kind_of_error

KERNEL = "append_kv_cache"
ELEMENT_BYTES = 2
POISON = -12345  # of lengths that the kernel has to write
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class AppendCase:
    """used: tokens of each batch entry before. rows: of the cache, or pages. by_head: heads outermost (bnsd). group: of
    a page table, its pages of a sequence. shift: places in the index tensors are off by so much, beyond the cache.
    """

    used: tuple[int, ...]
    tokens: int
    rows: int
    size: int
    heads: int = 2
    d: int = 16
    by_head: bool = False
    joined_cache: bool = False  # by_head is true of the new tokens only
    group: int = 0
    indexed: bool = False
    shift: int = 0
    expanded: bool = False
    d_v: int = 0  # 0: as d

    def __str__(self) -> str:
        words = [name for name in ("by_head", "joined_cache", "indexed", "expanded") if getattr(self, name)]
        words += [f"pages {self.group}"] * (self.group > 0) + [f"shift {self.shift}"] * (self.shift != 0)
        sizes = f"{self.used} + {self.tokens} in {self.rows}x{self.size} h{self.heads} d{self.d}" + f"/{self.d_v}" * (
            self.d_v > 0
        )
        return " ".join(["append", sizes.replace(" ", ""), *words])

    def run(self, library: str | Path = "", checks: bool = True, trace: bool = False) -> Verdict:
        problem, arrays = self.prepare()
        caches = [arrays[name] for name in ("k_cache", "v_cache")]
        guarded = [np.asarray(x.base) for x in caches]
        expected = [x.copy() for x in guarded]
        lengths = self._append([arrays["k"], arrays["v"]], [self._rows(x[1:-1]) for x in expected], arrays)
        plan = core().plan_append(problem, _soc())
        operands = {name: (x.ctypes.data, _extent_bytes(x)) for name, x in arrays.items()}
        options: dict[str, Any] = {"threads": 1, "checks": checks, "kernel_library": str(library)}
        options |= {"listing": True} if trace else {}
        try:
            report = core().simulate(KERNEL, _soc(), plan["tiling_bytes"], plan["block_dim"], operands, 0, options)
        except core().SimulatorError as error:
            return Verdict(kind_of_error(str(error)), str(error))
        if report["hazards"]:
            return Verdict("hazard", report["hazard_texts"][0])
        for name, got, right in zip(("k_cache", "v_cache"), guarded, expected, strict=True):
            if not np.array_equal(got, right):
                return Verdict("wrong result", f"{name}: {int((got != right).sum())} elements differ")
        if arrays["lengths"].tolist() != lengths:
            return Verdict("wrong result", f"lengths are {arrays['lengths'].tolist()}, not {lengths}")
        return Verdict("clean", "", fingerprint([*caches, arrays["lengths"]], report))

    def prepare(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The problem in op_host's words and every operand. The caches are views without the guards around them."""
        dims = (self.d, self.d_v or self.d)
        new = [self._new(d, np.random.default_rng(i)) for i, d in enumerate(dims)]
        caches = [self._cache(d)[1:-1] for d in dims]
        arrays = {name: np.ascontiguousarray(x, np.int32) for name, x in self._index().items()}
        arrays |= {"k": new[0], "v": new[1], "k_cache": caches[0], "v_cache": caches[1]}
        arrays["lengths"] = np.full(len(self.used), POISON, np.int32)
        return self._problem(new, [self._rows(x) for x in caches]), arrays

    def _new(self, d: int, rng: np.random.Generator) -> Array:
        """(b, tokens, h, d)"""
        b, tokens = len(self.used), 1 if self.expanded else self.tokens
        sizes = (b, self.heads, tokens, d) if self.by_head else (b, tokens, self.heads, d)
        x = rng.integers(1, 1 << 15, sizes).astype(np.uint16)
        x = x.swapaxes(1, 2) if self.by_head else x
        return np.broadcast_to(x, (b, self.tokens, self.heads, d)) if self.expanded else x

    def _cache(self, d: int) -> Array:
        """A row of guards before and behind the rows."""
        outer = self.by_head and not self.joined_cache
        inner = (self.heads, self.size) if outer else (self.size, self.heads)
        return np.zeros((self.rows + 2, *inner, d), np.uint16)

    def _rows(self, cache: Array) -> Array:
        """(rows, tokens, h, d)"""
        return cache.swapaxes(1, 2) if self.by_head and not self.joined_cache else cache

    def _index(self) -> dict[str, Array]:
        b = len(self.used)
        index: dict[str, Array] = {"cache_seqlens": np.array(self.used)}
        if self.indexed:
            index["cache_batch_idx"] = self.rows - 1 - np.arange(b) + self.shift
        if self.group:
            index["block_table"] = (np.arange(b * self.group)[::-1] + self.shift).reshape(b, self.group)
        return index

    def _append(self, new: list[Array], caches: list[Array], index: dict[str, Array]) -> list[int]:
        """The kernel's rule, token by token; the lengths."""
        capacity = self.size * max(self.group, 1)
        for i, used in enumerate(self.used):
            for t in range(max(0, -used), min(self.tokens, capacity - used)):
                at = used + t
                row = int(index["cache_batch_idx"][i]) if self.indexed else i
                row = int(index["block_table"][i, at // self.size]) if self.group else row
                if 0 <= row < self.rows:
                    for x, into in zip(new, caches, strict=True):
                        into[row, at % self.size] = x[i, t]
        return [min(max(used + self.tokens, 0), capacity) for used in self.used]

    def _problem(self, new: list[Array], caches: list[Array]) -> dict[str, Any]:
        tensors = [
            {"head_dim": x.shape[3], "new_strides": _strides(x), "cache_strides": _strides(into)}
            for x, into in zip(new, caches, strict=True)
        ]
        return {
            "b": len(self.used),
            "tokens": self.tokens,
            "heads": self.heads,
            "cache_rows": self.rows,
            "row_tokens": self.size,
            "sequence_pages": self.group,
            "table_stride": self.group,
            "has_cache_batch_idx": self.indexed,
            "element_bytes": ELEMENT_BYTES,
            "k": tensors[0],
            "v": tensors[1],
        }


def _strides(x: Array) -> list[int]:
    return [stride // ELEMENT_BYTES for stride in x.strides[:3]]


def _extent_bytes(x: Array) -> int:
    return sum((size - 1) * stride for size, stride in zip(x.shape, x.strides, strict=True)) + x.itemsize


@cache
def _soc() -> dict[str, Any]:
    return load_soc(SOC).values()


APPEND_CASES = (
    AppendCase((3, 0, 11), 5, 3, 16),  # up to the last position
    AppendCase((3, 14), 1, 2, 16, heads=4, by_head=True),  # rows of the copies are heads,
    AppendCase((3, 0), 9, 2, 16, heads=3, by_head=True),  # or tokens
    AppendCase((3, 0), 5, 2, 16, heads=3, by_head=True, joined_cache=True),
    AppendCase((14, 15), 20, 6, 16, group=3),
    AppendCase((14, 15), 20, 6, 16, heads=4, by_head=True, group=3),
    AppendCase((1, 2), 3, 5, 8, indexed=True),
    AppendCase((1, 2), 3, 2, 8, d=24, d_v=9),
    AppendCase((1,) * 24, 2, 24, 3, heads=1100, d=20, by_head=True),  # rows end within a block of UB; one core has two
    # Places that the cache does not have: on either side of its rows, its pages and its positions.
    *(AppendCase((14, 15), 3, 6, 16, group=3, shift=shift) for shift in (-5, -1, 1, 5)),
    *(AppendCase((1, 2), 3, 5, 8, indexed=True, shift=shift) for shift in (-4, -1, 1, 4)),
    AppendCase((-2, 14, 40, -20), 4, 4, 16),
    AppendCase((46, 47, 50), 4, 9, 16, group=3),
    AppendCase((5,), 6, 1, 16, expanded=True),
    AppendCase((5,), 6, 1, 16, heads=1, expanded=True),
    # More than a slot of UB in one row, in rows, and more rows than a copy counts.
    AppendCase((2,), 70, 1, 80, d=300),
    AppendCase((1,), 3, 1, 5, d=33000, by_head=True),
    AppendCase((1,), 3, 1, 5, d=17000),
    AppendCase((1,), 40, 1, 42, d=1500, by_head=True),
    AppendCase((2,), 5000, 1, 5003, d=1, by_head=True),
)


def bounded_append_cases() -> Iterator[AppendCase]:
    """Every start and count around a page, every width around a block of UB, both orders of tokens and heads."""
    for by_head in (False, True):
        for start in (-3, -1, 0, 1, 7, 15, 16, 17, 31):
            for tokens in (1, 2, 8, 15, 16, 17, 33):
                yield AppendCase((start, 3), tokens, 2, 32, by_head=by_head)
                yield AppendCase((start, 3), tokens, 4, 16, by_head=by_head, group=2)
                yield AppendCase((start, 3), tokens, 3, 32, by_head=by_head, indexed=True, shift=start % 3 - 1)
        for d in (1, 8, 15, 16, 17, 24, 32, 33):
            for heads in (1, 2, 3, 9):
                yield AppendCase((3,), 5, 1, 16, heads, d, by_head)
                yield AppendCase((3,), 5, 1, 16, heads, d, by_head, joined_cache=True)
                yield AppendCase((3,), 5, 1, 16, heads, d, by_head, expanded=True)
        for batch in (1, 3, 30):
            yield AppendCase(tuple(range(batch)), 20, batch, 64, d=400, by_head=by_head)
