"""The part of `fastattn selftest` about append_kv_cache_: every bit of caches and lengths against the host's."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import ops  # noqa: F401  (defines torch.ops.fastattn)
from ..arguments import TORCH_DTYPES
from ..dispatch import Backend, use


@dataclass(frozen=True)
class AppendCase:
    """used: tokens of each batch entry before. size: tokens of a row of the cache, or of a page. pages: of a sequence,
    0 without a block table."""

    name: str
    used: tuple[int, ...]
    tokens: int
    size: int
    h: int
    d: int
    dtype: str = "fp16"
    pages: int = 0

    @staticmethod
    def from_dict(name: str, values: dict[str, Any]) -> "AppendCase":
        return AppendCase(name, **{**values, "used": tuple(values["used"])})


def run_append(case: AppendCase, backend: Backend) -> dict[str, Any]:
    """A row of the report: shape, ok, reasons."""
    expected = _append(_inputs(case))
    if backend.name == "npu":
        from ..npu.timing import open_npu

        open_npu()
        got = _append({name: x.to("npu:0") for name, x in _inputs(case).items()})
    else:
        with use(backend):
            got = _append(_inputs(case))
    reasons = [
        f"{name}: {int((x != y).sum())} of {x.numel()} elements differ"
        for name, x, y in zip(("k_cache", "v_cache", "lengths"), got, expected, strict=True)
        if not torch.equal(x, y)
    ]
    return {"shape": case.name, "ok": not reasons, "reasons": reasons}


def _inputs(case: AppendCase) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    b = len(case.used)

    def normal(rows: int, tokens: int) -> Tensor:
        return torch.randn(rows, tokens, case.h, case.d, generator=generator).to(TORCH_DTYPES[case.dtype])

    rows = b * max(case.pages, 1)
    caches = {name: normal(rows, case.size) for name in ("k_cache", "v_cache")}
    new = {name: normal(b, case.tokens) for name in ("k", "v")}
    inputs = caches | new | {"cache_seqlens": torch.tensor(case.used, dtype=torch.int32)}
    order = torch.arange(rows - 1, -1, -1, dtype=torch.int32)  # none where it would be by luck
    if case.pages:
        inputs["block_table"] = order.reshape(b, case.pages)
    else:
        inputs["cache_batch_idx"] = order
    return inputs


def _append(inputs: dict[str, Tensor]) -> list[Tensor]:
    lengths = torch.ops.fastattn.append_kv_cache_(**inputs)
    return [inputs["k_cache"].cpu(), inputs["v_cache"].cpu(), lengths.cpu()]
