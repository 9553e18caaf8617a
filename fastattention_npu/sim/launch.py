"""One launch of the FlashAttention kernel on the simulated NPU: plan, mask, poisoned outputs, simulate.

The host side of a launch, as it will stand before a real NPU. Arguments come checked (arguments.py); nothing is copied:
the simulated chip's global memory is the tensors' own memory.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import layouts
from .._native import core
from ..arguments import DTYPE_NAMES, Problem, check_seqused_values
from ..config import SocConfig, TilingConfig
from ..dispatch import Backend
from .masks import mask_operand, windows_mask


@dataclass(frozen=True)
class SimReport:
    """What a launch was and what the simulator found; times and counts are simulated, `wall_s` is of the host.

    plan: op_host's answer (tiling, buffers, modelled cost). figures: cycles, time_us, pipe_busy, cube_utilisation,
    bottleneck, gm_bytes_read, gm_bytes_written, l2_hit_bytes, hazards, ... Both empty if there was nothing to launch.
    """

    soc: str
    plan: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    wall_s: float = 0.0


@dataclass(frozen=True)
class Launch:
    outputs: tuple[Tensor, Tensor]
    report: SimReport

    def outputs_without_hazards(self) -> tuple[Tensor, Tensor]:
        """The outputs; SimulatorError if accesses raced, for then they are a matter of luck."""
        count = self.report.figures.get("hazards", 0)
        if count:
            texts = "\n  ".join(self.report.figures.get("hazard_texts", ()))
            advice = "return_report=True returns the outputs with the report"
            raise core().SimulatorError(f"{count} hazards, accesses that no flag orders ({advice}):\n  {texts}")
        return self.outputs


def plan_problem(problem: Mapping[str, Any], soc: SocConfig, tiling: TilingConfig | None = None) -> dict[str, Any]:
    """op_host's plan of a problem (keys b s_q s_kv h_q h_kv d dtype layout causal softmax_scale strides
    has_seq_used_kv); raises ValueError with every reason if there is none."""
    return core().plan(dict(problem), soc.values(), dict(tiling.fields) if tiling else {})


@lru_cache(maxsize=8)
def device_constants(mask_block: int, mask: str) -> np.ndarray:
    """The M-mask (mask 'tiling') and the ramp behind it, made once per mask_block; the kernel only reads them."""
    return np.ascontiguousarray(core().device_constants(mask_block, mask))


def default_threads() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def launch_flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    p: Problem,
    softmax_scale: float | None,
    causal: bool,
    seqused_k: Tensor | None,
    backend: Backend,
    sim_options: Mapping[str, Any] | None = None,
    attn_mask: Tensor | None = None,
) -> Launch:
    """Runs checked arguments on the simulated NPU that `backend` describes.

    sim_options: further options of simulate_flash_attention, such as trace.
    attn_mask: bool (True: visible) or additive, broadcastable to (b, h_q, s_q, s_kv).
    """
    soc = backend.soc
    assert soc is not None, "a sim backend has a SoC"
    if seqused_k is not None:
        check_seqused_values(seqused_k, p.s_kv)
    # Poisoned: what the kernel leaves unwritten shows up as NaN.
    out = torch.full(layouts.shape_of(p.layout, p.b, p.s_q, p.h_q, p.d), torch.nan, dtype=q.dtype)
    lse = torch.full((p.b, p.h_q, p.s_q), torch.nan)
    if p.b == 0 or p.s_q == 0 or p.s_kv == 0:  # no block to launch
        return Launch((out.zero_(), lse.fill_(-torch.inf)), SimReport(soc.name))
    tensors = {"q": q, "k": k, "v": v, "o": out}
    views = {name: layouts.as_bshd(tensor, p.layout, p.d) for name, tensor in tensors.items()}  # (b, s, h, d) each
    start_s = time.perf_counter()
    problem = _problem_dict(p, views, softmax_scale, causal, seqused_k)
    if attn_mask is not None:
        attn_mask, mask_keys = mask_operand(attn_mask, (p.b, p.h_q, p.s_q, p.s_kv))
        problem |= mask_keys
    plan = plan_problem(problem, soc, backend.tiling)
    mask = device_constants(plan["tiling"]["mask_block"], plan["tiling"]["mask"])
    if plan["tiling"]["mask_tensor"] == "windows":
        attn_mask = windows_mask(problem)
    inputs = {name: (views[name].data_ptr(), extent_bytes(views[name])) for name in ("q", "k", "v")}
    inputs["mask"] = (mask.ctypes.data, mask.nbytes)
    if attn_mask is not None:
        inputs["attn_mask"] = (attn_mask.data_ptr(), extent_bytes(attn_mask))
    if seqused_k is not None:
        inputs["seqused_k"] = (seqused_k.data_ptr(), extent_bytes(seqused_k))
    outputs = {name: (tensor.data_ptr(), extent_bytes(tensor)) for name, tensor in (("o", out), ("lse", lse))}
    options: dict[str, Any] = {"threads": backend.threads or default_threads(), "checks": backend.checks}
    options |= sim_options or {}
    figures = core().simulate_flash_attention(
        soc.values(),
        plan["tiling_bytes"],
        plan["block_dim"],
        share_memory(inputs) | outputs,
        plan["workspace_bytes"],
        options,
    )
    wall_s = time.perf_counter() - start_s
    return Launch((out, lse), SimReport(soc.name, plan, figures, wall_s))


def extent_bytes(tensor: Tensor) -> int:
    """Bytes from the tensor's first element to the end of its last."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (last + 1) * tensor.element_size()


def share_memory(operands: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """The same (address, bytes) ranges, but those that overlap all end where the last of them does.

    Views of one packed tensor interleave; the chip's memory check takes an address for the operand that starts last
    before it, and must not find that one shorter than its neighbour.
    """
    ends: dict[str, int] = {}
    group: list[str] = []
    group_end = 0
    for name, (address, size) in sorted(operands.items(), key=lambda item: item[1]):
        if address >= group_end:
            group = []
        group.append(name)
        group_end = max(group_end, address + size)
        ends |= dict.fromkeys(group, group_end)
    return {name: (address, ends[name] - address) for name, (address, _) in operands.items()}


def _problem_dict(
    p: Problem, views: Mapping[str, Tensor], softmax_scale: float | None, causal: bool, seqused_k: Tensor | None
) -> dict[str, Any]:
    return {
        "b": p.b,
        "s_q": p.s_q,
        "s_kv": p.s_kv,
        "h_q": p.h_q,
        "h_kv": p.h_kv,
        "d": p.d,
        "dtype": DTYPE_NAMES[views["q"].dtype],
        "layout": p.layout,
        "causal": causal,
        "softmax_scale": softmax_scale,
        "has_seq_used_kv": seqused_k is not None,
        "strides": {name: _strides(view) for name, view in views.items()},
    }


def _strides(view: Tensor) -> list[int]:
    """Element strides of (batch, seq, head); a dimension of size 1 gets a dense one, since its own means nothing."""
    dense = (view.size(1) * view.size(2) * view.size(3), view.size(2) * view.size(3), view.size(3))
    return [view.stride(i) if view.size(i) > 1 else dense[i] for i in range(3)]
