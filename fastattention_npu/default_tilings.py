"""The tilings that ship with the package: configs/tiling/<soc>/<shape class>.yaml, made with `fastattn tune --all`.

A file says what was simulated (class_tuning.py). Its tiling is used where it fits and its modelled cost over that of
op_host's own choice is within the bound below which the simulator found it faster; elsewhere, and for problems of a
kind that was not simulated, op_host chooses.

configs/tiling/<soc>/allreduce/<layer class>.yaml, made with `fastattn tune --layers`, has the token blocks of a
tensor-parallel layer. They follow from all of its sizes, so a class is one layer at one length; where op_host's own
blocks were as fast in simulation its file has none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .config import TilingConfig, load_tiling
from .yaml_file import config_root, read_mapping

MOST_KEYS = {"1k": 1024, "2k": 2048, "4k": 4096, "8k": 8192}  # of a class; more are 16k
SHORTEST_QUERIES = 128  # fewer are decoding or its like: their blocks, and packing, follow the number of queries
# Each changes what the vector core does or what is known of lengths; the shipped tilings were simulated without.
NOT_SIMULATED = ("softcap", "has_alibi", "has_sinks", "has_seq_used_kv", "has_cu_seqlens", "mask_dtype")


@dataclass(frozen=True)
class DefaultTiling:
    """fields: what op_host is given. bound: of the modelled cost with them over that of op_host's own choice. name:
    <soc>/<shape class>."""

    fields: Mapping[str, int | str]
    bound: float
    name: str

    def suits(self, plan: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
        """Whether a plan with these fields is to be preferred to op_host's own."""
        return plan["model"]["cycles"] <= self.bound * own["model"]["cycles"]


def shape_class(problem: Mapping[str, Any]) -> str:
    """The class of shapes that share a default: head dim, mask, keys, and whether query blocks fill the cores."""
    dim = max(problem["d"], problem.get("d_v") or 0)
    windowed = problem.get("window_left", -1) >= 0 or problem.get("window_right", -1) >= 0
    mask = "window" if windowed else "causal" if problem.get("causal") else "full"
    keys = next((name for name, limit in MOST_KEYS.items() if problem["s_kv"] <= limit), "16k")
    blocks = problem["b"] * problem["h_q"] * -(-problem["s_q"] // 128)
    return f"d{-(-dim // 64) * 64}_{mask}_{keys}_{'many' if blocks >= 192 else 'few'}"


def is_plain(problem: Mapping[str, Any]) -> bool:
    """Whether the problem is of the kind that the shipped tilings were simulated with."""
    return problem["s_q"] >= SHORTEST_QUERIES and not any(problem.get(name) for name in NOT_SIMULATED)


@cache
def _load(path: Path) -> DefaultTiling | None:
    if not path.is_file():
        return None
    fields = load_tiling(path).fields
    name = f"{path.parent.name}/{path.stem}"
    tuned = read_mapping(path).get("tuned", {})
    return DefaultTiling(fields, float(tuned.get("modelled_over_own", 1.0)), name) if fields else None


def default_tiling(problem: Mapping[str, Any], soc: str) -> DefaultTiling | None:
    """The shipped tiling for the problem's class (op_host's words) on the SoC of that name; None if there is none."""
    if not is_plain(problem):
        return None
    return _load(config_root() / "tiling" / soc / f"{shape_class(problem)}.yaml")


def layer_class(problem: Mapping[str, Any], hidden: int, ranks: int, bias: bool) -> str | None:
    """The class of one rank's problem (op_host's words) with an AllReduce behind it: all that its time depends on; None
    for a kind that was not simulated."""
    s, d = problem["s_q"], problem["d"]
    windowed = problem.get("window_left", -1) >= 0 or problem.get("window_right", -1) >= 0
    one_sequence = problem["b"] == 1 and problem["s_kv"] == s and problem.get("total_q", s) == s  # packed or not
    if windowed or not one_sequence or (problem.get("d_v") or d) != d:
        return None
    mask = "causal" if problem.get("causal") else "full"
    return f"r{ranks}_hidden{hidden}_h{problem['h_q']}_kv{problem['h_kv']}_d{d}_{mask}_s{s}{'_bias' if bias else ''}"


def layer_folder(soc: str) -> Path:
    return config_root() / "tiling" / soc / "allreduce"


@cache
def _load_layer(path: Path) -> TilingConfig | None:
    tiling = load_tiling(path) if path.is_file() else None
    return tiling if tiling and tiling.fused else None


def default_layer_tiling(name: str | None, soc: str) -> TilingConfig | None:
    """The shipped token blocks of a layer class on the SoC of that name; None if there are none."""
    return _load_layer(layer_folder(soc) / f"{name}.yaml") if name else None
