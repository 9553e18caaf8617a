"""One launch of the FlashAttention kernel on the simulated NPU: plan, mask, poisoned outputs, simulate.

The host side of a launch, as it will stand before a real NPU. Arguments come checked (arguments.py); nothing is copied:
the simulated chip's global memory is the tensors' own memory.
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import layouts
from .._native import core
from ..argument_values import check_values
from ..arguments import DTYPE_NAMES, Problem
from ..config import SocConfig, TilingConfig
from ..default_tilings import default_tiling
from ..dispatch import Backend
from ..errors import ArgumentError
from ..options import Options
from .masks import mask_operand, windows_mask

# Options that the kernel reads from global memory, under its operands' names (native/sim_kernels.cpp).
OPERANDS = ("seqused_k", "cu_seqlens_q", "cu_seqlens_k", "sinks", "alibi_slopes")


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
    has_seq_used_kv); raises ValueError with every reason if there is none. Without a tiling the shipped one of the
    problem's shape class is tried first (default_tilings.py)."""
    default = default_tiling(problem, soc.name) if tiling is None else None
    if default is not None:
        with suppress(ValueError):  # it does not fit this problem, or the problem is refused: op_host decides
            return core().plan(dict(problem), soc.values(), dict(default.fields))
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
    options: Options,
    p: Problem,
    backend: Backend,
    sim_options: Mapping[str, Any] | None = None,
) -> Launch:
    """Runs checked arguments on the simulated NPU that `backend` describes.

    sim_options: further options of simulate_flash_attention, such as trace.
    """
    soc = backend.soc
    assert soc is not None, "a sim backend has a SoC"
    check_values(k, options, p)
    # Poisoned: what the kernel leaves unwritten shows up as NaN.
    out = torch.full(p.out_shape, torch.nan, dtype=q.dtype)
    lse = torch.full(p.lse_shape, torch.nan)
    p = with_longest(p, options)
    if p.b == 0 or p.tokens_q == 0 or p.s_kv == 0:  # no block to launch
        lse.copy_(torch.tensor(-torch.inf) if options.sinks is None else options.sinks[:, None])
        return Launch((out.zero_(), lse), SimReport(soc.name))
    views = _views(q, k, v, out, p)
    start_s = time.perf_counter()
    problem, attn_mask = _problem_dict(p, views, options)
    plan = _plan(problem, backend)
    mask = device_constants(plan["tiling"]["mask_block"], plan["tiling"]["mask"])
    if plan["tiling"]["mask_tensor"] == "windows":
        attn_mask = windows_mask(problem)
    read = {"q": views["q"], "k": views["k"], "v": views["v"], "attn_mask": attn_mask}
    read |= {name: getattr(options, name) for name in OPERANDS}
    ranges = {name: (x.data_ptr(), extent_bytes(x)) for name, x in read.items() if x is not None}
    ranges["mask"] = (mask.ctypes.data, mask.nbytes)
    outputs = {name: (tensor.data_ptr(), extent_bytes(tensor)) for name, tensor in (("o", out), ("lse", lse))}
    settings: dict[str, Any] = {"threads": backend.threads or default_threads(), "checks": backend.checks}
    figures = core().simulate_flash_attention(
        soc.values(),
        plan["tiling_bytes"],
        plan["block_dim"],
        share_memory(ranges) | outputs,
        plan["workspace_bytes"],
        settings | dict(sim_options or {}),
    )
    wall_s = time.perf_counter() - start_s
    if options.cu_seqlens_q is not None:
        end = int(options.cu_seqlens_q[-1])
        out[end:], lse[:, end:] = 0, -torch.inf  # tokens behind the last sequence belong to none
    return Launch((out, lse), SimReport(soc.name, plan, figures, wall_s))


def plan_call(q: Tensor, k: Tensor, v: Tensor, options: Options, p: Problem, backend: Backend) -> dict[str, Any]:
    """op_host's plan of checked arguments; meta tensors do. Raises ArgumentError with every reason if there is none."""
    views = _views(q, k, v, q.new_empty(p.out_shape), p)
    return _plan(_problem_dict(with_longest(p, options), views, options)[0], backend)


def _plan(problem: Mapping[str, Any], backend: Backend) -> dict[str, Any]:
    assert backend.soc is not None, "a sim backend has a SoC"
    try:
        return plan_problem(problem, backend.soc, backend.tiling)
    except ValueError as error:
        raise ArgumentError(str(error)) from error


def _views(q: Tensor, k: Tensor, v: Tensor, out: Tensor, p: Problem) -> dict[str, Tensor]:
    """The operands as (b, s, h, d)."""
    dims = {"q": (q, p.d), "k": (k, p.d), "v": (v, p.d_v), "o": (out, p.d_v)}
    return {name: layouts.as_bshd(x, p.layout, d) for name, (x, d) in dims.items()}


def with_longest(p: Problem, options: Options) -> Problem:
    """The problem with the lengths of the longest packed sequences, where the caller did not name them."""
    if options.cu_seqlens_q is None or options.cu_seqlens_k is None or p.b == 0:
        return p
    s_q = int(options.cu_seqlens_q.diff().max()) if options.max_seqlen_q is None else p.s_q
    s_kv = int(options.cu_seqlens_k.diff().max()) if options.max_seqlen_k is None else p.s_kv
    return replace(p, s_q=max(s_q, 1), s_kv=s_kv)


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


def _problem_dict(p: Problem, views: Mapping[str, Tensor], options: Options) -> tuple[dict[str, Any], Tensor | None]:
    """The problem in op_host's words, and the mask tensor as the kernel reads it."""
    slopes, mask = options.alibi_slopes, options.attn_mask
    mask_keys: dict[str, Any] = {}
    if mask is not None:
        mask, mask_keys = mask_operand(mask, (p.b, p.h_q, p.s_q, p.s_kv))
    problem = {
        "b": p.b,
        "s_q": p.s_q,
        "s_kv": p.s_kv,
        "h_q": p.h_q,
        "h_kv": p.h_kv,
        "d": p.d,
        "d_v": p.d_v,
        "dtype": DTYPE_NAMES[views["q"].dtype],
        "layout": p.layout,
        "causal": options.causal,
        "window_left": options.window_left,
        "window_right": options.window_right,
        "softcap": float(options.softcap),
        "softmax_scale": options.softmax_scale,
        "has_seq_used_kv": options.seqused_k is not None,
        "has_cu_seqlens": p.packed,
        "total_q": p.tokens_q if p.packed else 0,
        "has_sinks": options.sinks is not None,
        "has_alibi": slopes is not None,
        "alibi_per_batch": slopes is not None and slopes.dim() == 2,
        "strides": {name: _strides(view) for name, view in views.items()},
    }
    return problem | mask_keys, mask


def _strides(view: Tensor) -> list[int]:
    """Element strides of (batch, seq, head); a dimension of size 1 gets a dense one, since its own means nothing."""
    dense = (view.size(1) * view.size(2) * view.size(3), view.size(2) * view.size(3), view.size(3))
    return [view.stride(i) if view.size(i) > 1 else dense[i] for i in range(3)]
