"""What the tests of op_host share: SoC files in flat form, the plan call, the reasons of a refusal."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fastattention_npu import _core

CONFIGS = Path(__file__).parent.parent / "configs"
SOCS = ["ascend910b1", "ascend910b2", "ascend910b3", "ascend910b4"]
LLAMA = {"b": 1, "s_q": 1024, "s_kv": 1024, "h_q": 32, "h_kv": 32, "d": 128, "dtype": "fp16", "causal": True}
PUBLIC = yaml.safe_load((CONFIGS / "tiling" / "public_schedule.yaml").read_text())


def soc_of(name: str = "ascend910b2", **changes: float) -> dict[str, Any]:
    """The flat form of a SoC file on top of its architecture file."""
    values: dict[str, Any] = {}
    for file in ("dav-2201", name):
        for group, rows in yaml.safe_load((CONFIGS / "soc" / f"{file}.yaml").read_text()).items():
            if isinstance(rows, dict):
                values |= {f"{group}.{key}": float(row["value"]) for key, row in rows.items()}
    return values | {"name": name} | changes


SOC = soc_of()


def plan(problem: dict[str, Any], soc: dict[str, Any] = SOC, **overrides: int | str) -> dict[str, Any]:
    return _core.plan(problem, soc, overrides)


def packed_heads(problem: dict[str, Any], tiling: dict[str, Any]) -> int:
    """Query heads of a task: their tokens share the rows of a block."""
    return problem["h_q"] // problem["h_kv"] if tiling["pack_gqa"] else 1


def refusal(problem: dict[str, Any], soc: dict[str, Any] = SOC, **overrides: Any) -> list[str]:
    """The reasons of a refusal, one a line."""
    with pytest.raises(ValueError, match="no flash attention plan on ascend910b2") as caught:
        _core.plan(problem, soc, overrides)
    headline, *reasons = str(caught.value).splitlines()
    assert f"({len(reasons)} reason" in headline
    return reasons
