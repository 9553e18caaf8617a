"""The attention problem of a shape file: its keys, their meaning and their checks.

The keys stand in tables; a new key means a row. What a backend makes of a shape is limits.py's to say.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from . import limits
from .errors import ConfigError, Reason, did_you_mean, unknown_name

MASK_KINDS = ("bool", "additive", "fp32")  # additive: in the dtype of q
MASK_DIMS = "bhqk"
MAX_RANKS = 8  # NPUs of one host
NOT_WITH_ALLREDUCE = ("softcap", "alibi", "sinks", "mask", "seqused_k", "page_size")


@dataclass(frozen=True)
class AllReduceConfig:
    """What follows the attention of each of so many ranks: a projection to `hidden` columns, and the sum over them."""

    ranks: int
    hidden: int
    bias: bool = False


@dataclass(frozen=True)
class ShapeConfig:
    """One attention problem. Sizes in elements.

    d_v: None for d. window: keys that a row sees to the left and right of the diagonal, -1 for all. alibi: none, head
    (slopes per head) or batch (per batch entry and head). mask: None or one of MASK_KINDS; mask_dims: those of its
    dimensions bhqk that vary. seqused_k: valid keys of each batch entry, None for all. seqlens_q, seqlens_k: lengths of
    packed sequences, for layout tnd; s_q and s_kv are then the longest. page_size: the keys lie in pages of that many
    tokens. allreduce: the problem is one rank's, and projection and AllReduce follow.
    """

    b: int
    s_q: int
    s_kv: int
    h_q: int
    h_kv: int
    d: int
    d_v: int | None = None
    dtype: str = "fp16"
    layout: str = "bshd"
    causal: bool = False
    window: tuple[int, int] = (-1, -1)
    softmax_scale: float | None = None
    softcap: float = 0.0
    alibi: str = "none"
    sinks: bool = False
    mask: str | None = None
    mask_dims: str = "qk"
    seqused_k: tuple[int, ...] | None = None
    seqlens_q: tuple[int, ...] | None = None
    seqlens_k: tuple[int, ...] | None = None
    page_size: int | None = None
    allreduce: AllReduceConfig | None = None
    source: str = ""  # the file that it was read from

    @property
    def name(self) -> str:
        return Path(self.source).stem

    @property
    def head_dim_v(self) -> int:
        return self.d if self.d_v is None else self.d_v

    def scale(self) -> float:
        return 1.0 / math.sqrt(self.d) if self.softmax_scale is None else self.softmax_scale

    def as_dict(self) -> dict[str, Any]:
        values = asdict(self) | {"name": self.name, "softmax_scale": self.scale(), "d_v": self.head_dim_v}
        del values["source"]
        if self.allreduce is None:
            del values["allreduce"]
        return values

    def sequences(self) -> list[tuple[int, int]]:
        """(queries, keys in use) of each batch entry."""
        queries = self.seqlens_q or [self.s_q] * self.b
        keys = self.seqused_k or self.seqlens_k or [self.s_kv] * self.b
        return list(zip(queries, keys, strict=True))

    def features(self) -> list[str]:
        """What is not plain about it, in words for people."""
        words = ["causal"] if self.causal else []
        words += [f"window={list(self.window)}"] if self.window != (-1, -1) else []
        words += [f"softcap={self.softcap:g}"] if self.softcap else []
        words += [f"alibi={self.alibi}"] if self.alibi != "none" else []
        words += ["sinks"] if self.sinks else []
        words += [f"mask={self.mask}({self.mask_dims})"] if self.mask else []
        lists = {name: getattr(self, name) for name in ("seqused_k", "seqlens_q", "seqlens_k")}
        words += [f"{name}={list(value)}" for name, value in lists.items() if value is not None]
        if self.allreduce:
            words.append(f"projected to {self.allreduce.hidden}, AllReduce of {self.allreduce.ranks} ranks")
        return words + ([f"page_size={self.page_size}"] if self.page_size else [])


def _size(key: str, value: Any) -> int | Reason:
    limit = limits.Limit(key, 1, limits.OPERATOR[key].max)
    if isinstance(value, bool) or not isinstance(value, int):
        return Reason(key, repr(value), f"an integer, {limit}", "write a whole number without quotes")
    return value if limit.holds(value) else limit.check(value)[0]


def _optional(take: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda key, value: None if value is None else take(key, value)


def _choice(names: Mapping[str, str]) -> Callable[[str, Any], Any]:
    def take(key: str, value: Any) -> Any:
        if isinstance(value, str) and value.lower() in names:
            return names[value.lower()]
        if not isinstance(value, str):
            return Reason(key, repr(value), f"one of {', '.join(names)}", "write one of these names")
        return Reason(key, repr(value), f"one of {', '.join(names)}", did_you_mean(value, names, "write one of these"))

    return take


def _flag(key: str, value: Any) -> Any:
    return value if isinstance(value, bool) else Reason(key, repr(value), "true or false", "write true or false")


def _number(key: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        remedy = "leave it out for 1 / sqrt(d)" if key == "softmax_scale" else "leave it out for none"
        return Reason(key, repr(value), "a finite number", remedy)
    return float(value)


def _softcap(key: str, value: Any) -> Any:
    number = 0.0 if value is None else _number(key, value)
    if isinstance(number, Reason) or number >= 0:
        return number
    return Reason(key, repr(value), "finite and not negative", "leave it out for none")


def _window(key: str, value: Any) -> Any:
    if value is None or value == -1:
        return (-1, -1)
    side = limits.ARGUMENTS["window_left"]
    if isinstance(value, list) and len(value) == 2 and all(_is_int(x) and side.holds(x) for x in value):
        return tuple(value)
    return Reason(key, repr(value), f"[left, right], each {side}", "write two whole numbers, or remove this key")


def _alibi(key: str, value: Any) -> Any:
    if isinstance(value, bool):
        return "head" if value else "none"
    return _choice({name: name for name in ("none", "head", "batch")})(key, "none" if value is None else value)


def _mask_dims(key: str, value: Any) -> Any:
    text = value if isinstance(value, str) else ""
    if text and "".join(x for x in MASK_DIMS if x in text) == text:
        return text
    return Reason(key, repr(value), f"some of {MASK_DIMS}, in that order", "name the dimensions that vary, like qk")


def _counts(key: str, value: Any) -> Any:
    if not isinstance(value, list) or not all(_is_int(x) for x in value):
        return Reason(key, repr(value), "a list of b integers", "write [n0, n1, ...], one count a batch entry")
    return tuple(value)


def _page_size(key: str, value: Any) -> Any:
    limit = limits.ARGUMENTS["page size"]
    if _is_int(value) and limit.holds(value):
        return value
    return limit.check(value, name=key)[0] if _is_int(value) else Reason(key, repr(value), str(limit), "write a number")


def _allreduce(key: str, value: Any) -> Any:
    limits_of = {"ranks": limits.Limit("ranks", 1, MAX_RANKS), "hidden": limits.Limit("hidden", 1, 2**20)}
    known = isinstance(value, dict) and set(limits_of) <= set(value) <= {*limits_of, "bias"}
    if not known or not isinstance(value.get("bias", False), bool):
        return Reason(key, repr(value), "{ranks: N, hidden: N}, and bias: true or false", "write these keys")
    for name, limit in limits_of.items():
        if not _is_int(value[name]) or not limit.holds(value[name]):
            return Reason(f"{key}.{name}", repr(value[name]), str(limit), "write a whole number")
    return AllReduceConfig(**value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


REQUIRED = dict.fromkeys(("b", "s_q", "s_kv", "h_q", "h_kv", "d"), _size)
OPTIONAL: dict[str, Callable[[str, Any], Any]] = {
    "d_v": _optional(_size),
    "dtype": _choice({"fp16": "fp16", "float16": "fp16", "bf16": "bf16", "bfloat16": "bf16"}
                     | {"fp32": "fp32", "float32": "fp32"}),
    "layout": _choice(limits.LAYOUTS),
    "causal": _flag,
    "window": _window,
    "softmax_scale": _optional(_number),
    "softcap": _softcap,
    "alibi": _alibi,
    "sinks": _flag,
    "mask": _optional(_choice({name: name for name in MASK_KINDS})),
    "mask_dims": _mask_dims,
    "seqused_k": _optional(_counts),
    "seqlens_q": _optional(_counts),
    "seqlens_k": _optional(_counts),
    "page_size": _optional(_page_size),
    "allreduce": _optional(_allreduce),
}  # fmt: skip


def shape_from_dict(values: Mapping[str, Any], source: str) -> ShapeConfig:
    """Checks every key and returns the problem; `source` names the origin in errors."""
    takers = REQUIRED | OPTIONAL
    reasons = [unknown_name(key, repr(value), takers, "key") for key, value in values.items() if key not in takers]
    taken: dict[str, Any] = {}
    for key, take in takers.items():
        if key not in values:
            if key in REQUIRED:
                reasons.append(Reason(key, "missing", "given", f"add {key}: <number>"))
            continue
        value = take(key, values[key])
        if isinstance(value, Reason):
            reasons.append(value)
        else:
            taken[key] = value
    reasons += _joint_reasons(taken)
    if reasons:
        raise ConfigError(f"{source}: not a usable shape file", reasons)
    return ShapeConfig(**taken, source=source)


def _joint_reasons(taken: Mapping[str, Any]) -> list[Reason]:
    """Rules that join several keys, applied where all of them were readable."""
    reasons = []
    if taken.get("allreduce") is not None:
        plain = {field.name: field.default for field in fields(ShapeConfig)}
        used = [key for key in NOT_WITH_ALLREDUCE if taken.get(key, plain[key]) != plain[key]]
        reasons += [Reason(key, taken[key], "absent beside allreduce", "remove one of them") for key in used]
        if taken.get("layout", "bshd") not in ("bshd", "tnd"):
            reasons.append(Reason("layout", taken["layout"], "bshd or tnd beside allreduce", "use one of these"))
        if taken.get("dtype", "fp16") == "fp32":
            reasons.append(Reason("dtype", "fp32", "fp16 or bf16 beside allreduce", "use one of these"))
        if taken.get("causal") and taken.get("window", (-1, -1))[1] > 0:
            reasons.append(
                Reason("window", taken["window"], "at most the diagonal beside causal", "remove one of them")
            )
    if "h_q" in taken and "h_kv" in taken and taken["h_q"] % taken["h_kv"]:
        limit = f"a multiple of h_kv = {taken['h_kv']}"
        reasons.append(Reason("h_q", taken["h_q"], limit, "change h_q or h_kv until h_kv divides h_q"))
    meanings = {"seqused_k": ("s_kv", "count the valid keys of each batch entry")}
    meanings |= {f"seqlens_{x}": (s, f"raise {s} to the longest") for x, s in (("q", "s_q"), ("k", "s_kv"))}
    for key, (size, remedy) in meanings.items():
        counts = taken.get(key)
        if counts is not None and "b" in taken and len(counts) != taken["b"]:
            limit = f"a list of b = {taken['b']} integers"
            reasons.append(Reason(key, list(counts), limit, "give one count a batch entry"))
        if counts is not None and size in taken and not all(0 <= n <= taken[size] for n in counts):
            reasons.append(Reason(key, list(counts), f"0 to {size} = {taken[size]} each", remedy))
    return reasons + _packed_reasons(taken)


def _packed_reasons(taken: Mapping[str, Any]) -> list[Reason]:
    packed = taken.get("layout") == "tnd"
    needed = ("seqlens_q",) if taken.get("page_size") else ("seqlens_q", "seqlens_k")
    reasons = []
    for key in ("seqlens_q", "seqlens_k"):
        if packed and key in needed and taken.get(key) is None:
            reasons.append(Reason(key, None, "given for layout tnd", "write the length of each sequence"))
        elif taken.get(key) is not None and not (packed and key in needed):
            limit = "left out with page_size" if packed else "left out unless layout is tnd"
            reasons.append(Reason(key, list(taken[key]), limit, "use seqused_k"))
    if packed and taken.get("mask") is not None:
        reasons.append(Reason("mask", repr(taken["mask"]), "left out with layout tnd", "use another layout"))
    return reasons
