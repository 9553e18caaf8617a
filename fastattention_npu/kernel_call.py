"""The host side of one launch of the FlashAttention kernel, whichever NPU runs it: op_host's plan and the operands.

Arguments come checked (arguments.py). No value of a tensor is read, and operands are the tensors' own memory.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

from . import layouts
from ._native import core
from .arguments import DTYPE_NAMES, Problem
from .config import SocConfig, TilingConfig
from .default_tilings import default_tiling
from .errors import ArgumentError, Reason
from .kernel_masks import mask_operand, windows_mask
from .options import Options

KERNEL = "flash_attention_fwd"
# Options that the kernel reads from global memory, under its operands' names (native/sim_kernels.cpp).
OPERANDS = ("seqused_k", "cu_seqlens_q", "cu_seqlens_k", "sinks", "alibi_slopes")

Range = tuple[int, int]  # address, bytes


@dataclass(frozen=True)
class KernelCall:
    """A planned launch. plan: op_host's answer. read, written: operands by name, less the mask constants and the
    workspace."""

    plan: Mapping[str, Any]
    read: Mapping[str, Tensor]
    written: Mapping[str, Tensor]

    @property
    def constants(self) -> np.ndarray:
        """What the mask operand points to, on the host."""
        return device_constants(self.plan["tiling"]["mask_block"], self.plan["tiling"]["mask"])

    def ranges(self, mask: Range) -> dict[str, Range]:
        """Memory of every operand; `mask`: where the constants lie."""
        return share_memory({name: range_of(x) for name, x in self.read.items()} | {"mask": mask}) | {
            name: range_of(x) for name, x in self.written.items()
        }


def plan_problem(problem: Mapping[str, Any], soc: SocConfig, tiling: TilingConfig | None = None) -> dict[str, Any]:
    """op_host's plan of a problem (keys b s_q s_kv h_q h_kv d dtype layout causal softmax_scale strides
    has_seq_used_kv ...), and under `chosen_by` what it started from; raises ValueError with every reason if there is
    none. Without a tiling the shipped one of the problem's shape class stands beside op_host's own choice
    (default_tilings.py). Plans are kept, since a launch on an NPU waits for one.
    """
    values = soc.values()
    key = repr((sorted(problem.items()), sorted(values.items()), tiling))
    plan = _plans.get(key)
    if plan is None:
        plan = _plan(dict(problem), soc.name, values, tiling)
        if len(_plans) >= PLANS_KEPT:
            _plans.clear()
        _plans[key] = plan
    return dict(plan)


PLANS_KEPT = 1024
_plans: dict[str, dict[str, Any]] = {}


def _plan(problem: dict[str, Any], soc: str, soc_values: dict[str, Any], tiling: TilingConfig | None) -> dict[str, Any]:
    if tiling is not None:
        if tiling.fused:
            remedy = "leave it out: only attention_linear_allreduce has token blocks"
            reasons = [Reason(key, value, "absent", remedy) for key, value in tiling.fused.items()]
            raise ArgumentError(f"{tiling.source}: not a tiling of plain attention", reasons)
        chosen = f"op_host from {tiling.source or 'a tiling'}"
        return core().plan(problem, soc_values, dict(tiling.fields)) | {"chosen_by": chosen}
    own = core().plan(problem, soc_values, {}) | {"chosen_by": "op_host"}
    default = default_tiling(problem, soc)
    if default is not None:
        with suppress(ValueError):  # it does not fit this problem
            shipped = core().plan(problem, soc_values, dict(default.fields))
            if default.suits(shipped, own):
                return shipped | {"chosen_by": f"op_host from the shipped {default.name}"}
    return own


@lru_cache(maxsize=8)
def device_constants(mask_block: int, mask: str) -> np.ndarray:
    """The M-mask (mask 'tiling') and the ramp behind it, made once per mask_block; the kernel only reads them."""
    return np.ascontiguousarray(core().device_constants(mask_block, mask))


def make_call(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    options: Options,
    p: Problem,
    soc: SocConfig,
    tiling: TilingConfig | None,
) -> KernelCall:
    """Plans a call of checked arguments. Raises ArgumentError with op_host's reasons."""
    views = as_views(q, k, v, out, p)
    problem, attn_mask = problem_dict(p, views, options)
    plan = plan_or_refuse(problem, soc, tiling)
    if plan["tiling"]["mask_tensor"] == "windows":
        attn_mask = windows_mask(problem, q.device)
    read = {"q": views["q"], "k": views["k"], "v": views["v"], "attn_mask": attn_mask}
    read |= {name: getattr(options, name) for name in OPERANDS}
    return KernelCall(plan, {name: x for name, x in read.items() if x is not None}, {"o": out, "lse": lse})


def plan_or_refuse(problem: Mapping[str, Any], soc: SocConfig, tiling: TilingConfig | None) -> dict[str, Any]:
    """plan_problem, but what it refuses is an ArgumentError."""
    try:
        return plan_problem(problem, soc, tiling)
    except ValueError as error:
        raise ArgumentError(str(error)) from error


def as_views(q: Tensor, k: Tensor, v: Tensor, out: Tensor, p: Problem) -> dict[str, Tensor]:
    """The operands as (b, s, h, d)."""
    dims = {"q": (q, p.d), "k": (k, p.d), "v": (v, p.d_v), "o": (out, p.d_v)}
    return {name: layouts.as_bshd(x, p.layout, d) for name, (x, d) in dims.items()}


def range_of(tensor: Tensor) -> Range:
    return tensor.data_ptr(), extent_bytes(tensor)


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


def problem_dict(p: Problem, views: Mapping[str, Tensor], options: Options) -> tuple[dict[str, Any], Tensor | None]:
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
        "strides": {name: dense_strides(view) for name, view in views.items()},
    }
    return problem | mask_keys, mask


def dense_strides(view: Tensor) -> list[int]:
    """Element strides of (batch, seq, head); a dimension of size 1 gets a dense one, since its own means nothing."""
    dense = (view.size(1) * view.size(2) * view.size(3), view.size(2) * view.size(3), view.size(3))
    return [view.stride(i) if view.size(i) > 1 else dense[i] for i in range(3)]
