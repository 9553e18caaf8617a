"""Shape and tiling files: YAML in, frozen values out; everything wrong with a file is one ConfigError.

The keys of a shape file stand in shape_config.py, the chip's constants are read by soc_config.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import limits
from ._native import is_available
from .errors import ConfigError, Reason, unknown_name
from .shape_config import ShapeConfig, shape_from_dict
from .soc_config import SocConfig, load_soc
from .yaml_file import config_names, find_config, read_mapping

__all__ = ["ShapeConfig", "SocConfig", "TilingConfig", "load_shape", "load_soc", "load_tiling", "shape_from_dict"]

FUSED_FIELDS = ("token_blocks", "tiles_per_step")


@dataclass(frozen=True)
class TilingConfig:
    """Tiling fields that override op_host's choice; fused: those of attention_linear_allreduce alone, token_blocks (the
    tokens of each block) and tiles_per_step (projection tiles between two level-1 blocks)."""

    fields: Mapping[str, int | str] = field(default_factory=dict)
    source: str = ""
    fused: Mapping[str, Any] = field(default_factory=dict)


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
    tuned = values.pop("tuned", {})  # where the file comes from, as `fastattn tune` writes it
    if not isinstance(tuned, dict):
        reasons.append(Reason("tuned", repr(tuned), "a mapping", "remove it, or keep what fastattn tune wrote"))
    fused = {key: values.pop(key) for key in FUSED_FIELDS if key in values}
    reasons += [reason for key, value in fused.items() for reason in _fused_reasons(key, value)]
    for key, value in values.items():
        if rows and key not in rows:
            reasons.append(unknown_name(key, repr(value), [*rows, *FUSED_FIELDS], "key"))
        elif rows and rows[key].names:
            reasons += rows[key].check_name(value)
        elif isinstance(value, bool) or not isinstance(value, int):
            reasons.append(Reason(key, repr(value), "an integer", "write a whole number without quotes"))
        elif rows:
            reasons += rows[key].check(value)
    if reasons:
        raise ConfigError(f"{path}: not a usable tiling file", reasons)
    return TilingConfig(values, str(path), fused)


def _fused_reasons(key: str, value: Any) -> list[Reason]:
    numbers = value if key == "token_blocks" else [value]
    if isinstance(numbers, list) and numbers and all(type(x) is int and x > 0 for x in numbers):
        return []
    limit = "a list of positive integers" if key == "token_blocks" else "a positive integer"
    return [Reason(key, repr(value), limit, "write whole numbers without quotes, or remove this key")]


def tiling_limits() -> dict[str, limits.Limit]:
    """The tiling fields and their limits, from the native table; empty without the native module."""
    if not is_available():
        return {}
    from ._native import core

    names = [name for name, row in core().limits().items() if row["group"] == "tiling"]
    return {name: limits.kernel_limits()[name] for name in names}
