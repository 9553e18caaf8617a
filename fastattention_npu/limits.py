"""What the operators accept, as data: argument checks, error messages, tests and documentation read it from here.

Two tables. `OPERATOR` holds on every backend. `kernel_limits()` is the table of the Ascend C kernel, op_host/limits.cpp
through the native module; it binds the sim and npu backends only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from ._native import core
from .errors import Reason, did_you_mean

DTYPES = ("fp16", "bf16", "fp32")  # of q, k, v; on any backend
BACKEND_DTYPES: Mapping[str, tuple[str, ...]] = MappingProxyType({"cpu": DTYPES, "sim": ("fp16", "bf16")})
BACKENDS = ("sim", "cpu", "cuda", "npu")

# Every accepted spelling and the one that the code uses.
LAYOUTS: Mapping[str, str] = MappingProxyType(
    {"bshd": "bshd", "bsnd": "bshd", "bhsd": "bnsd", "bnsd": "bnsd", "bsh": "bsh"}
)


@dataclass(frozen=True)
class Limit:
    """Range of one integer; `max` None means unbounded. With `names`, the values min, min + 1 ... go by name."""

    name: str
    min: int
    max: int | None
    multiple: int = 1
    why: str = ""
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"at least {self.min}" if self.max is None else f"{self.min} to {self.max}"
        text += f" in multiples of {self.multiple}" if self.multiple > 1 else ""
        return text + (f" ({self.why})" if self.why else "")

    def holds(self, value: int) -> bool:
        return value >= self.min and (self.max is None or value <= self.max) and value % self.multiple == 0

    def check(self, value: int, remedy: str = "", name: str = "") -> list[Reason]:
        """A reason if the value is outside, none otherwise; without a remedy it names the nearest legal value."""
        if self.holds(value):
            return []
        return [Reason(name or self.name, value, str(self), remedy or f"use {self.nearest(value)}")]

    def check_name(self, value: object) -> list[Reason]:
        """A reason if the value is none of the names."""
        if value in self.names:
            return []
        advice = did_you_mean(str(value), self.names, "write one of these")
        return [Reason(self.name, repr(value), f"one of {', '.join(self.names)}", advice)]

    def nearest(self, value: int) -> int:
        """The nearest legal value at or above `value`, or the largest."""
        up = max(self.min, -(-int(value) // self.multiple) * self.multiple)
        return up if self.max is None else min(up, self.max)


OPERATOR: Mapping[str, Limit] = MappingProxyType(
    {
        limit.name: limit
        for limit in (
            Limit("b", 0, None),
            Limit("s_q", 0, None),
            Limit("s_kv", 0, None),
            Limit("h_q", 1, None),
            Limit("h_kv", 1, None),
            Limit("d", 1, None),
        )
    }
)


@cache
def kernel_limits() -> Mapping[str, Limit]:
    """The kernel's table: problem sizes (b ... d) and tiling fields, by name."""
    rows = core().limits()
    return MappingProxyType(
        {
            name: Limit(name, row["min"], row["max"], row["multiple"], row["why"], tuple(row["names"]))
            for name, row in rows.items()
        }
    )
