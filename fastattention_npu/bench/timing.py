"""Simulated time of an attention problem without its arithmetic: operands need no memory, at any length."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._native import core

FAKE_ADDRESS = 1 << 44  # operands that nothing reads or writes
FAKE_SPACING = 1 << 42
MASK_BYTES = {"bool": 1, "windows": 1, "add": 2, "add_fp32": 4}


@dataclass(frozen=True)
class Timing:
    """The plan of a problem and what the simulator reports of it."""

    plan: Mapping[str, Any]
    report: Mapping[str, Any]

    @property
    def tiling(self) -> Mapping[str, Any]:
        return self.plan["tiling"]


def operand_bytes(problem: Mapping[str, Any], tiling: Mapping[str, Any]) -> dict[str, int]:
    """Bytes of every operand in GM; q, k, v and o without gaps, a mask tensor as large as its strides say."""
    rows_q = problem["b"] * problem["h_q"] * problem["s_q"]
    rows_kv = problem["b"] * problem["h_kv"] * problem["s_kv"]
    d_qk, d_v = (2 * tiling[f"head_dim_{name}"] for name in ("qk", "v"))
    sizes = {"q": rows_q * d_qk, "k": rows_kv * d_qk, "v": rows_kv * d_v, "o": rows_q * d_v, "lse": rows_q * 4}
    sizes["mask"] = constant_bytes(tiling)
    if tiling["mask_tensor"] != "none":
        batch, row, head = tiling["mask_strides"]
        last = (problem["b"] - 1) * batch + (problem["h_q"] - 1) * head + (problem["s_q"] - 1) * row
        sizes["attn_mask"] = (last + problem["s_kv"]) * MASK_BYTES[tiling["mask_tensor"]]
    return sizes


def constant_bytes(tiling: Mapping[str, Any]) -> int:
    """Of the M-mask and the ramp, made once per device."""
    return int(core().device_constants(tiling["mask_block"], tiling["mask"]).nbytes)


def simulate(
    problem: Mapping[str, Any], soc: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, threads: int = 1
) -> Timing:
    """Plans the problem (keys as for op_host) and runs the kernel with arithmetic and checks left out."""
    plan = core().plan(dict(problem), dict(soc), dict(overrides or {}))
    sizes = operand_bytes(problem, plan["tiling"])
    operands = {name: (FAKE_ADDRESS + i * FAKE_SPACING, size) for i, (name, size) in enumerate(sizes.items())}
    options = {"functional": False, "checks": False, "threads": threads}
    report = core().simulate_flash_attention(
        dict(soc), plan["tiling_bytes"], plan["block_dim"], operands, plan["workspace_bytes"], options
    )
    return Timing(plan, report)
