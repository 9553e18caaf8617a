"""Shape and tiling files: YAML in, frozen values out; everything wrong with a file is one ConfigError.

The keys stand in tables; a new key means a row. The chip's constants are read by soc_config.py.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import limits
from ._native import is_available
from .errors import ConfigError, Reason, did_you_mean, unknown_name
from .soc_config import SocConfig, load_soc
from .yaml_file import config_names, find_config, read_mapping

__all__ = ["ShapeConfig", "SocConfig", "TilingConfig", "load_shape", "load_soc", "load_tiling", "shape_from_dict"]


@dataclass(frozen=True)
class ShapeConfig:
    """One attention problem. Sizes in elements; `seqused_k`: valid keys of each batch entry, None for all."""

    b: int
    s_q: int
    s_kv: int
    h_q: int
    h_kv: int
    d: int
    dtype: str = "fp16"
    layout: str = "bshd"
    causal: bool = False
    softmax_scale: float | None = None
    seqused_k: tuple[int, ...] | None = None
    source: str = ""  # the file that it was read from

    @property
    def name(self) -> str:
        return Path(self.source).stem

    def scale(self) -> float:
        return 1.0 / math.sqrt(self.d) if self.softmax_scale is None else self.softmax_scale

    def as_dict(self) -> dict[str, Any]:
        values = asdict(self) | {"name": self.name, "softmax_scale": self.scale()}
        del values["source"]
        return values


@dataclass(frozen=True)
class TilingConfig:
    """Tiling fields that override op_host's choice."""

    fields: Mapping[str, int | str] = field(default_factory=dict)
    source: str = ""


def _size(key: str, value: Any) -> int | Reason:
    limit = limits.Limit(key, 1, limits.OPERATOR[key].max)
    if isinstance(value, bool) or not isinstance(value, int):
        return Reason(key, repr(value), f"an integer, {limit}", "write a whole number without quotes")
    if not limit.holds(value):
        return limit.check(value)[0]
    return value


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


def _scale(key: str, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return Reason(key, repr(value), "a finite number", "leave it out for 1 / sqrt(d)")
    return float(value)


def _counts(key: str, value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, list) or any(isinstance(x, bool) or not isinstance(x, int) for x in value):
        return Reason(key, repr(value), "a list of b integers", "write [n0, n1, ...], one count a batch entry")
    return tuple(value)


def _absent(neutral: tuple[Any, ...], remedy: str) -> Callable[[str, Any], Any]:
    """A feature of the design that the kernel does not have yet: only its neutral values pass."""

    def take(key: str, value: Any) -> Any:
        return None if value in neutral else Reason(key, repr(value), f"{neutral[0]} (not implemented yet)", remedy)

    return take


REQUIRED = dict.fromkeys(("b", "s_q", "s_kv", "h_q", "h_kv", "d"), _size)
OPTIONAL: dict[str, Callable[[str, Any], Any]] = {
    "dtype": _choice({"fp16": "fp16", "float16": "fp16", "bf16": "bf16", "bfloat16": "bf16"}
                     | {"fp32": "fp32", "float32": "fp32"}),
    "layout": _choice(limits.LAYOUTS),
    "causal": _flag,
    "softmax_scale": _scale,
    "seqused_k": _counts,
}  # fmt: skip
NOT_YET = {
    "window": _absent((None, [-1, -1], -1), "remove this key: the whole row is attended to"),
    "softcap": _absent((0, None), "remove this key"),
}


def shape_from_dict(values: Mapping[str, Any], source: str) -> ShapeConfig:
    """Checks every key and returns the problem; `source` names the origin in errors."""
    takers = REQUIRED | OPTIONAL | NOT_YET
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
        elif key not in NOT_YET:
            taken[key] = value
    reasons += _joint_reasons(taken)
    if reasons:
        raise ConfigError(f"{source}: not a usable shape file", reasons)
    return ShapeConfig(**taken, source=source)


def _joint_reasons(taken: Mapping[str, Any]) -> list[Reason]:
    """Rules that join several keys, applied where all of them were readable."""
    reasons = []
    if "h_q" in taken and "h_kv" in taken and taken["h_q"] % taken["h_kv"]:
        limit = f"a multiple of h_kv = {taken['h_kv']}"
        reasons.append(Reason("h_q", taken["h_q"], limit, "change h_q or h_kv until h_kv divides h_q"))
    counts = taken.get("seqused_k")
    if counts is not None and "b" in taken and len(counts) != taken["b"]:
        limit = f"a list of b = {taken['b']} integers"
        reasons.append(Reason("seqused_k", list(counts), limit, "give one count a batch entry"))
    if counts is not None and "s_kv" in taken and not all(0 <= n <= taken["s_kv"] for n in counts):
        limit = f"0 to s_kv = {taken['s_kv']} each"
        reasons.append(Reason("seqused_k", list(counts), limit, "count the valid keys of each batch entry"))
    return reasons


def load_shape(name_or_path: str | Path) -> ShapeConfig:
    """Reads a shape file, given as a path or as the name of one in configs/shapes."""
    path = find_config("shapes", name_or_path)
    if not path.exists():
        raise ConfigError(
            f"cannot read {path}: no such file; give a path, or one of the shapes that come with the package: "
            f"{', '.join(config_names('shapes'))}"
        )
    return shape_from_dict(read_mapping(path), str(path))


def load_tiling(name_or_path: str | Path) -> TilingConfig:
    """Reads a tiling file: fields that override op_host's choice. Joint rules and storage are op_host's to check."""
    path = find_config("tiling", name_or_path)
    if not path.exists():
        raise ConfigError(
            f"cannot read {path}: no such file; give a path, or one of the tilings that come with the package: "
            f"{', '.join(config_names('tiling'))}"
        )
    values = read_mapping(path)
    rows = tiling_limits()
    reasons = []
    for key, value in values.items():
        if rows and key not in rows:
            reasons.append(unknown_name(key, repr(value), rows, "key"))
        elif rows and rows[key].names:
            reasons += rows[key].check_name(value)
        elif isinstance(value, bool) or not isinstance(value, int):
            reasons.append(Reason(key, repr(value), "an integer", "write a whole number without quotes"))
        elif rows:
            reasons += rows[key].check(value)
    if reasons:
        raise ConfigError(f"{path}: not a usable tiling file", reasons)
    return TilingConfig(values, str(path))


def tiling_limits() -> dict[str, limits.Limit]:
    """The tiling fields and their limits, from the native table; empty without the native module."""
    if not is_available():
        return {}
    from ._native import core

    names = [name for name, row in core().limits().items() if row["group"] == "tiling"]
    return {name: limits.kernel_limits()[name] for name in names}
