"""The host side of one launch of the append_kv_cache kernel, whichever NPU runs it: op_host's plan and the operands.

Arguments come checked (cache_ops.py). No value of a tensor is read, and operands are the tensors' own memory.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ._native import core
from .config import SocConfig
from .errors import ArgumentError, Reason
from .kernel_call import Range, dense_strides, range_of, share_memory

KERNEL = "append_kv_cache"
HEADLINE = "append_kv_cache_ cannot take these arguments on backend npu or sim"


@dataclass(frozen=True)
class Append:
    """k_cache, v_cache, k, v as (b or rows or pages, tokens, h, d); the index tensors as the operator has them."""

    k_cache: Tensor
    v_cache: Tensor
    k: Tensor
    v: Tensor
    cache_seqlens: Tensor
    cache_batch_idx: Tensor | None
    block_table: Tensor | None

    def check(self) -> None:
        """Raises ArgumentError with what the kernel cannot read or write in place."""
        reasons = []
        for name in ("k_cache", "v_cache", "k", "v"):
            x = getattr(self, name)
            if x.size(-1) > 1 and x.stride(-1) != 1:
                remedy = f"make {name} contiguous in its last dimension"
                reasons.append(Reason(f"{name}.stride(-1)", x.stride(-1), "1", remedy))
            if name.endswith("cache") and any(x.stride(i) == 0 and x.size(i) > 1 for i in range(3)):
                reasons.append(Reason(f"{name}.stride()", x.stride(), "without 0", "a cache must not be expanded"))
        for name in ("cache_seqlens", "cache_batch_idx", "block_table"):
            index = getattr(self, name)
            if index is not None and index.size(-1) > 1 and index.stride(-1) != 1:
                reasons.append(Reason(f"{name}.stride(-1)", index.stride(-1), "1", f"use {name}.contiguous()"))
        if reasons:
            raise ArgumentError(HEADLINE, reasons)

    def plan(self, soc: SocConfig) -> dict[str, Any]:
        try:
            return dict(core().plan_append(self.problem(), soc.values()))
        except ValueError as error:
            raise ArgumentError(str(error)) from error

    def problem(self) -> dict[str, Any]:
        b, tokens, heads, _ = self.k.shape
        return {
            "b": b,
            "tokens": tokens,
            "heads": heads,
            "cache_rows": self.k_cache.size(0),
            "row_tokens": self.k_cache.size(1),
            "sequence_pages": 0 if self.block_table is None else self.block_table.size(1),
            "table_stride": 0 if self.block_table is None else self.block_table.stride(0),
            "has_cache_batch_idx": self.cache_batch_idx is not None,
            "element_bytes": self.k.element_size(),
            "k": _tensor(self.k, self.k_cache),
            "v": _tensor(self.v, self.v_cache),
        }

    def ranges(self, lengths: Tensor) -> dict[str, Range]:
        """Memory of every operand."""
        read: dict[str, Tensor | None] = {"k": self.k, "v": self.v, "cache_seqlens": self.cache_seqlens}
        read |= {"cache_batch_idx": self.cache_batch_idx, "block_table": self.block_table}
        written = {"k_cache": self.k_cache, "v_cache": self.v_cache}
        return {
            **share_memory({name: range_of(x) for name, x in read.items() if x is not None}),
            **share_memory({name: range_of(x) for name, x in written.items() if x.numel()}),
            "lengths": range_of(lengths),
        }


def _tensor(new: Tensor, cache: Tensor) -> dict[str, Any]:
    return {"head_dim": new.size(-1), "new_strides": dense_strides(new), "cache_strides": dense_strides(cache)}
