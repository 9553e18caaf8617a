"""The tilings that ship with the package: configs/tiling/<soc>/<shape class>.yaml, made with `fastattn tune`.

A plan without a tiling file starts from the one of its class; where that does not fit the problem, op_host chooses.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from .config import TilingConfig, load_tiling
from .yaml_file import config_root


def shape_class(problem: Mapping[str, Any]) -> str:
    """The class of shapes that share a default: head dim, mask, keys, and whether query blocks fill the cores."""
    dim = max(problem["d"], problem.get("d_v") or 0)
    windowed = problem.get("window_left", -1) >= 0 or problem.get("window_right", -1) >= 0
    mask = "window" if windowed else "causal" if problem.get("causal") else "full"
    keys = next((name for limit, name in ((1024, "1k"), (4096, "4k")) if problem["s_kv"] <= limit), "16k")
    blocks = problem["b"] * problem["h_q"] * -(-problem["s_q"] // 128)
    return f"d{-(-dim // 64) * 64}_{mask}_{keys}_{'many' if blocks >= 192 else 'few'}"


@cache
def _load(path: Path) -> TilingConfig | None:
    return load_tiling(path) if path.is_file() else None


def default_tiling(problem: Mapping[str, Any], soc: str) -> TilingConfig | None:
    """The shipped tiling for the problem's class (op_host's words) on the SoC of that name; None if there is none."""
    return _load(config_root() / "tiling" / soc / f"{shape_class(problem)}.yaml")
