"""One attention call on its way to the native kernel: its arguments, their checks, and the parameter struct."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from fastattention_npu._native import core

from .checks import DTYPES, PAGE_STEP_TOKENS, Reasons, check_floats, check_heads, check_index, check_types

# layout -> dimension numbers of batch, token, head; TND has no batch dimension
LAYOUTS: dict[str, tuple[int | None, int, int]] = {"BSND": (0, 1, 2), "BNSD": (0, 2, 1), "TND": (None, 0, 1)}


@dataclass
class Call:
    """Arguments of cpu.forward, under the same names."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    softmax_scale: float | None = None
    causal: bool = False
    window_left: int = -1
    window_right: int = -1
    softcap: float = 0.0
    alibi_slopes: torch.Tensor | None = None
    sinks: torch.Tensor | None = None
    attn_mask: torch.Tensor | None = None
    seqused_k: torch.Tensor | None = None
    cu_seqlens_q: torch.Tensor | None = None
    cu_seqlens_k: torch.Tensor | None = None
    block_table: torch.Tensor | None = None
    layout: str = "BSND"
    out: torch.Tensor | None = None
    threads: int | None = None
    splits: int = 0

    @property
    def packed(self) -> bool:
        return self.layout == "TND"

    @property
    def kv_layout(self) -> str:
        """A paged cache is a batch of pages, whatever the queries' layout."""
        return "BSND" if self.packed and self.block_table is not None else self.layout

    @property
    def batch(self) -> int:
        if not self.packed:
            return self.q.shape[0]
        return self.cu_seqlens_q.numel() - 1 if self.cu_seqlens_q is not None else 0

    @property
    def s_q(self) -> int:
        return self.q.shape[LAYOUTS[self.layout][1]]

    @property
    def h_q(self) -> int:
        return self.q.shape[LAYOUTS[self.layout][2]]

    @property
    def h_kv(self) -> int:
        return self.k.shape[LAYOUTS[self.kv_layout][2]]

    @property
    def page_size(self) -> int:
        return self.k.shape[LAYOUTS[self.kv_layout][1]] if self.block_table is not None else 0

    @property
    def s_kv(self) -> int:
        """Most keys that a sequence can have."""
        if self.block_table is not None:
            return self.block_table.shape[1] * self.page_size
        return self.k.shape[LAYOUTS[self.layout][1]]

    def check(self, where: str) -> None:
        """Raise ValueError with every reason at once; shapes first, for the rest cannot be read without them."""
        reasons = Reasons(where)
        known = reasons.check(self.layout in LAYOUTS, f"layout is {self.layout!r}, must be one of {', '.join(LAYOUTS)}")
        check_types(reasons, {"q": self.q, "k": self.k, "v": self.v, **({} if self.out is None else {"out": self.out})})
        if known:
            self._check_ranks(reasons)
        if not known or any(" dimensions" in reason for reason in reasons.reasons):
            reasons.raise_if_any()
        self._check_shapes(reasons)
        self._check_sequences(reasons)
        self._check_options(reasons)
        reasons.raise_if_any()

    def _check_ranks(self, reasons: Reasons) -> None:
        kv_rank = 3 if self.kv_layout == "TND" else 4
        for name, x, rank in (("q", self.q, 3 if self.packed else 4), ("k", self.k, kv_rank), ("v", self.v, kv_rank)):
            reasons.check(x.dim() == rank, f"{name} has {x.dim()} dimensions, layout {self.layout} needs {rank}")
        table = self.block_table
        reasons.check(
            table is None or table.dim() == 2,
            f"block_table has {0 if table is None else table.dim()} dimensions, must have 2 (b, pages)",
        )

    def _check_shapes(self, reasons: Reasons) -> None:
        k, v = tuple(self.k.shape), tuple(self.v.shape)
        reasons.check(k[:-1] == v[:-1], f"k is {k}, v is {v}: all but d must be equal")
        check_heads(reasons, self.h_q, self.h_kv, self.q.shape[-1], k[-1], v[-1])
        if self.kv_layout != "TND" and self.block_table is None:
            reasons.check(k[0] == self.batch, f"batch of k is {k[0]}, of q {self.batch}: they must be equal")
        wanted = (*self.q.shape[:-1], v[-1])
        got = wanted if self.out is None else tuple(self.out.shape)
        reasons.check(got == wanted, f"out has shape {got}, must be {wanted}")

    def _check_sequences(self, reasons: Reasons) -> None:
        b, paged = self.batch, self.block_table is not None
        if self.packed:
            reasons.check(self.cu_seqlens_q is not None, "layout TND needs cu_seqlens_q")
            reasons.check(self.cu_seqlens_k is not None or paged, "layout TND needs cu_seqlens_k or block_table")
        else:
            cumulative = self.cu_seqlens_q is not None or self.cu_seqlens_k is not None
            reasons.check(not cumulative, f"cu_seqlens need layout TND, not {self.layout}")
        if paged:
            size = self.page_size
            reasons.check(
                size >= PAGE_STEP_TOKENS and size % PAGE_STEP_TOKENS == 0,
                f"page size is {size}, must be a multiple of {PAGE_STEP_TOKENS}",
            )
            reasons.check(self.seqused_k is not None, "block_table needs seqused_k (int32 (b): keys in use)")
            reasons.check(self.cu_seqlens_k is None, "block_table and cu_seqlens_k exclude each other")
        check_index(reasons, "seqused_k", self.seqused_k, (b,))
        check_index(reasons, "cu_seqlens_q", self.cu_seqlens_q, (b + 1,))
        check_index(reasons, "cu_seqlens_k", self.cu_seqlens_k, (b + 1,))
        check_index(reasons, "block_table", self.block_table, (b, None))
        for name, x, total in (("q", self.cu_seqlens_q, self.s_q), ("k", self.cu_seqlens_k, self.s_kv)):
            if x is not None and x.dim() == 1 and x.device.type == "cpu" and x.numel() > 0:
                first, last = int(x[0]), int(x[-1])
                reasons.check(
                    first == 0 and last <= total and bool((x[1:] >= x[:-1]).all()),
                    f"cu_seqlens_{name} must rise from 0 to at most {total} tokens, runs from {first} to {last}",
                )

    def _check_options(self, reasons: Reasons) -> None:
        b, h_q = self.batch, self.h_q
        check_floats(reasons, "alibi_slopes", self.alibi_slopes, [(h_q,), (b, h_q)])
        check_floats(reasons, "sinks", self.sinks, [(h_q,)])
        reasons.check(
            math.isfinite(self.softcap) and self.softcap >= 0,
            f"softcap is {self.softcap}, must be finite and not negative (0: none)",
        )
        scale = 1.0 if self.softmax_scale is None else self.softmax_scale
        reasons.check(math.isfinite(scale), f"softmax_scale is {scale}, must be finite")
        window = (self.window_left, self.window_right)
        reasons.check(min(window) >= -1, f"window is {window}, each side must be -1 (unlimited) or more")
        reasons.check(self.threads is None or self.threads >= 1, f"threads is {self.threads}, must be 1 or more")
        mask = self.attn_mask
        if mask is None:
            return
        reasons.check(not self.packed, "attn_mask is not defined for layout TND: pass one sequence at a time")
        reasons.check(mask.dtype in DTYPES, f"attn_mask is {mask.dtype}, must be bool, float32, float16 or bfloat16")
        reasons.check(mask.device.type == "cpu", f"attn_mask is on {mask.device}, must be on the CPU")
        shape = (b, h_q, self.s_q, self.s_kv)
        try:
            mask.expand(shape)
        except RuntimeError:
            reasons.check(False, f"attn_mask has shape {tuple(mask.shape)}, must broadcast to {shape}")

    def params(self, out: torch.Tensor, lse: torch.Tensor | None) -> Any:
        """The native parameter struct; call check() first."""
        p = core().CpuAttentionParams()
        p.dtype = DTYPES[self.q.dtype]
        p.q, p.k, p.v, p.o = (x.data_ptr() for x in (self.q, self.k, self.v, out))
        p.q_strides, p.o_strides = strides(self.q, self.layout), strides(out, self.layout)
        p.k_strides, p.v_strides = strides(self.k, self.kv_layout), strides(self.v, self.kv_layout)
        p.batch, p.queries, p.keys = self.batch, self.s_q, self.s_kv
        p.h_q, p.h_kv, p.d_qk, p.d_v = self.h_q, self.h_kv, self.q.shape[-1], self.v.shape[-1]
        p.scale = self.q.shape[-1] ** -0.5 if self.softmax_scale is None else float(self.softmax_scale)
        p.softcap = float(self.softcap)
        p.window_left, p.window_right = self.window_left, 0 if self.causal else self.window_right
        p.alibi, p.sinks = address(self.alibi_slopes), address(self.sinks)
        p.alibi_b = self.h_q if self.alibi_slopes is not None and self.alibi_slopes.dim() == 2 else 0
        p.seqused_k, p.cu_q, p.cu_k = address(self.seqused_k), address(self.cu_seqlens_q), address(self.cu_seqlens_k)
        if self.block_table is not None:
            p.block_table, p.block_table_stride = self.block_table.data_ptr(), self.block_table.stride(0)
            p.page_size, p.page_count = self.page_size, self.k.shape[0]
        if self.attn_mask is not None:
            s = self.attn_mask.expand(self.batch, self.h_q, self.s_q, self.s_kv).stride()
            p.mask, p.mask_dtype = self.attn_mask.data_ptr(), DTYPES[self.attn_mask.dtype]
            p.mask_strides = core().CpuStrides(s[0], s[2], s[1], s[3])
        if lse is not None:
            p.lse = lse.data_ptr()
            p.lse_strides = core().CpuStrides(0 if self.packed else lse.stride(0), lse.stride(-1), lse.stride(-2), 0)
        p.threads = self.threads or torch.get_num_threads()
        p.splits = self.splits
        return p


def strides(x: torch.Tensor, layout: str) -> Any:
    batch, token, head = LAYOUTS[layout]
    s = x.stride()
    return core().CpuStrides(0 if batch is None else s[batch], s[token], s[head], s[-1])


def address(x: torch.Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()
