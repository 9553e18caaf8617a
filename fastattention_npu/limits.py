"""What the operators accept, as data: checks, error messages, `fastattn doctor`, tests and documentation read it.

`TABLE` has a row for each backend: dtypes, layouts, head dims, and which features are missing, each with its reason and
remedy. `OPERATOR` holds the sizes that bind every backend; `kernel_limits()` is the table of the Ascend C kernel,
op_host/limits.cpp through the native module, which binds sim and npu besides.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import Any

from torch import Tensor

from ._native import core
from .errors import Reason, did_you_mean
from .options import Options

DTYPES = ("fp16", "bf16", "fp32")  # of q, k, v; on any backend
BACKENDS = ("sim", "cpu", "cuda", "npu")
INT32_MAX = 2**31 - 1

# Every accepted spelling and the one that the code uses.
LAYOUTS: Mapping[str, str] = MappingProxyType(
    {"bshd": "bshd", "bsnd": "bshd", "bhsd": "bnsd", "bnsd": "bnsd", "bsh": "bsh", "tnd": "tnd", "thd": "tnd"}
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


def _rows(*limits: Limit) -> Mapping[str, Limit]:
    return MappingProxyType({limit.name: limit for limit in limits})


OPERATOR = _rows(
    Limit("b", 0, None),
    Limit("s_q", 0, None),
    Limit("s_kv", 0, None),
    Limit("h_q", 1, None),
    Limit("h_kv", 1, None),
    Limit("d", 1, None),
    Limit("d_v", 1, None),
)
ARGUMENTS = _rows(
    Limit("window_left", -1, INT32_MAX, why="-1 for all keys"),
    Limit("window_right", -1, INT32_MAX, why="-1 for all keys"),
    Limit("num_splits", 0, INT32_MAX, why="0 lets the backend choose"),
    Limit("page size", 16, None, 16),
)


@dataclass(frozen=True)
class Feature:
    """Something that a call may ask for. `name` is its argument, `used` says whether a call with these options and
    sizes (arguments.Problem) asks for it."""

    name: str
    meaning: str
    used: Callable[[Options, Any], bool]


def _given(name: str) -> Callable[[Options, Any], bool]:
    return lambda options, _: getattr(options, name) is not None


FEATURES = (
    Feature("causal", "causal mask, aligned bottom-right", lambda o, p: o.causal),
    Feature("window", "sliding windows: left, right, both", lambda o, p: o.window_left >= 0 or o.window_right >= 0),
    Feature("softcap", "softcap", lambda o, p: o.softcap > 0),
    Feature("alibi_slopes", "ALiBi, per head or per batch entry and head", _given("alibi_slopes")),
    Feature("sinks", "attention sinks", _given("sinks")),
    Feature("attn_mask", "mask tensor, boolean or additive", _given("attn_mask")),
    Feature("seqused_k", "keys in use of each batch entry", _given("seqused_k")),
    Feature("cu_seqlens", "packed sequences (tnd), empty ones too", _given("cu_seqlens_q")),
    Feature("d_v", "head dim of V different from that of Q and K", lambda o, p: p.d != p.d_v),
    Feature("block_table", "paged caches", _given("block_table")),
    Feature("cache_batch_idx", "cache rows chosen by index", _given("cache_batch_idx")),
    Feature("num_splits", "number of key splits chosen by the caller", lambda o, p: o.num_splits > 1),
)


@dataclass(frozen=True)
class Missing:
    why: str
    remedy: str


@dataclass(frozen=True)
class Support:
    """What one backend takes. max_head_dim None: any. unit_stride: whether a head's elements must lie side by side."""

    backend: str
    dtypes: tuple[str, ...]
    max_head_dim: int | None
    unit_stride: bool
    layouts: tuple[str, ...] = ("bshd", "bnsd", "bsh", "tnd")
    any_mask_dtype: bool = True  # False: an additive mask has fp32 or the dtype of q
    missing: Mapping[str, Missing] = field(default_factory=dict)
    notes: str = ""

    def head_dim(self, name: str) -> Limit:
        return Limit(name, 1, self.max_head_dim, why="" if self.max_head_dim is None else f"backend {self.backend}")


_KERNEL = Support(
    "sim",
    dtypes=("fp16", "bf16"),
    max_head_dim=256,
    unit_stride=True,
    any_mask_dtype=False,
    missing={
        "block_table": Missing("the Ascend C kernel reads contiguous keys", "gather the pages, or use backend 'cpu'"),
        "cache_batch_idx": Missing("the Ascend C kernel reads batch entries in order", "pass k[cache_batch_idx]"),
        "num_splits": Missing("op_host chooses the split", "leave it out, or set schedule in a tiling file"),
    },
    notes="rows more than 65535 elements apart are slow; an additive mask in fp32 or the dtype of q",
)

TABLE: Mapping[str, Support] = MappingProxyType(
    {
        "sim": _KERNEL,
        "cpu": Support("cpu", DTYPES, None, False, notes="above d = 256, and without the native module, in PyTorch"),
        "cuda": Support(
            "cuda",
            dtypes=("fp16", "bf16"),
            max_head_dim=256,
            unit_stride=False,
            missing={
                "sinks": Missing("the GPU kernels have no sinks", "move the tensors to the CPU: q.cpu(), ..."),
                "attn_mask": Missing("the GPU kernels read no mask tensor", "use causal and windows, or CPU tensors"),
                "d_v": Missing("the GPU kernels have one head dim", "pad v with zero columns to d, and cut the output"),
            },
            notes="bf16 only where PyTorch's flash attention serves the call (sm_80 and newer)",
        ),
        "npu": replace(_KERNEL, backend="npu"),
    }
)


def feature_reasons(options: Options, problem: Any, backend: str) -> list[Reason]:
    """A reason for each feature that the call asks for and the backend does not have."""
    missing = TABLE[backend].missing
    reasons = []
    for feature in FEATURES:
        if feature.name in missing and feature.used(options, problem):
            row = missing[feature.name]
            limit = f"left out on backend {backend} ({row.why})"
            reasons.append(Reason(feature.name, received(options, problem, feature.name), limit, row.remedy))
    return reasons


def received(options: Options, problem: Any, name: str) -> object:
    """What a call gave for a feature, for messages."""
    value = getattr(options, name, getattr(problem, name, None))
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else value


def size_reasons(problem: Any, backend: str) -> list[Reason]:
    """A reason for each size that the backend does not take."""
    row = TABLE[backend]
    reasons = []
    for name, limit in OPERATOR.items():
        size: Any = getattr(problem, name)
        bad = limit.check(size)
        if not bad and row.max_head_dim is not None and name in ("d", "d_v"):
            bad = row.head_dim(name).check(size, "split the head dim outside the operator")
        if not bad and backend in ("sim", "npu") and size != 0:
            bad = kernel_limits()[name].check(size)
        reasons += bad if name != "d_v" or problem.d_v != problem.d else []
    return reasons


def markdown_table() -> str:
    """The features by backend, as docs/flash_attention.md shows them."""
    lines = [f"| | {' | '.join(TABLE)} |", "| --- |" + " --- |" * len(TABLE)]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in table_rows()]
    return "\n".join(lines)


def table_rows() -> list[tuple[str, list[str]]]:
    """(what, one cell for each backend of TABLE)."""
    rows = list(TABLE.values())
    lines = [
        ("dtype", [", ".join(row.dtypes) for row in rows]),
        ("layout", [", ".join(row.layouts) for row in rows]),
        ("d, d_v", [f"1 … {row.max_head_dim}" if row.max_head_dim else "1 and up" for row in rows]),
    ]
    for feature in FEATURES:
        cells = ["no" if feature.name in row.missing else "yes" for row in rows]
        lines.append((f"{feature.meaning} (`{feature.name}`)", cells))
    return [*lines, ("also", [row.notes for row in rows])]


@cache
def kernel_limits() -> Mapping[str, Limit]:
    """The kernel's table: problem sizes (b ... d_v) and tiling fields, by name."""
    rows = core().limits()
    return MappingProxyType(
        {
            name: Limit(name, row["min"], row["max"], row["multiple"], row["why"], tuple(row["names"]))
            for name, row in rows.items()
        }
    )
