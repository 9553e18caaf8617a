"""torch.ops.fastattn.append_kv_cache_: new keys and values into a cache, in place, on any device.

Without a synchronisation: on an NPU and on the simulated one by a kernel of ours (op_kernel/kv_cache), elsewhere by
plain tensor operations. Attention over the cache is flash_attention's with seqused_k, block_table or cache_batch_idx.
"""

from typing import Any

import torch
from torch import Tensor

from . import layouts, limits
from .cache_call import Append
from .dispatch import current_backend
from .errors import ArgumentError, Reason
from .library import LIBRARY, TAGS

HEADLINE = "append_kv_cache_ cannot take these arguments"

LIBRARY.define(
    "append_kv_cache_(Tensor(a!) k_cache, Tensor(b!) v_cache, Tensor k, Tensor v, Tensor cache_seqlens, "
    "Tensor? cache_batch_idx=None, Tensor? block_table=None, str layout='bshd') -> Tensor",
    tags=TAGS,
)


def _check(
    k_cache: Tensor, v_cache: Tensor, k: Tensor, v: Tensor, cache_seqlens: Tensor, cache_batch_idx: Tensor | None,
    block_table: Tensor | None, layout: str,
) -> str:  # fmt: skip
    """The layout's name; raises ArgumentError with every reason."""
    reasons: list[Reason] = []
    name = limits.LAYOUTS.get(layout.lower(), "")
    if name not in ("bshd", "bnsd"):
        reasons.append(Reason("layout", repr(layout), "bshd or bnsd", "view the caches in one of these"))
        raise ArgumentError(HEADLINE, reasons)
    tensors = {"k_cache": k_cache, "v_cache": v_cache, "k": k, "v": v}
    for key, x in tensors.items():
        if x.dim() != 4:
            reasons.append(Reason(f"{key}.dim()", x.dim(), f"4, {layouts.DIMS[name]}", f"reshape {key}"))
        if x.dtype != k_cache.dtype:
            reasons.append(Reason(f"{key}.dtype", x.dtype, f"that of k_cache, {k_cache.dtype}", f"cast {key}"))
    index = {"cache_seqlens": cache_seqlens, "cache_batch_idx": cache_batch_idx, "block_table": block_table}
    given = {key: x for key, x in index.items() if x is not None}
    for key, x in (tensors | given).items():
        if x.device != k_cache.device:
            limit = f"that of k_cache, {k_cache.device}"
            reasons.append(Reason(f"{key}.device", x.device, limit, f"use {key}.to(k_cache.device)"))
    for key, x in given.items():
        rank = 2 if key == "block_table" else 1
        if x.dtype != torch.int32:
            reasons.append(Reason(f"{key}.dtype", x.dtype, "torch.int32", f"use {key}.to(torch.int32)"))
        if x.dim() != rank:
            reasons.append(Reason(f"{key}.dim()", x.dim(), str(rank), f"correct the shape of {key}"))
        elif k.dim() == 4 and x.size(0) != k.size(0):
            reasons.append(Reason(f"{key}.size(0)", x.size(0), f"b = {k.size(0)}", f"correct the shape of {key}"))
    if cache_batch_idx is not None and block_table is not None:
        reasons.append(Reason("cache_batch_idx", "given", "left out with block_table", "index the table instead"))
    if all(x.dim() == 4 for x in tensors.values()):
        reasons += _shape_reasons(tensors, name, in_order=cache_batch_idx is None and block_table is None)
    if reasons:
        raise ArgumentError(HEADLINE, reasons)
    return name


def _shape_reasons(tensors: dict[str, Tensor], layout: str, *, in_order: bool) -> list[Reason]:
    shapes = {key: layouts.sizes_of(layout, x.shape) for key, x in tensors.items()}
    b, s, h, d = shapes["k"]
    rows, _, _, d_v = shapes["v_cache"]
    expected = {"v": (b, s, h, d_v), "k_cache": (b if in_order else rows, shapes["k_cache"][1], h, d)}
    expected["v_cache"] = (*expected["k_cache"][:3], d_v)
    return [
        Reason(f"{key}.shape", tuple(tensors[key].shape), str(layouts.shape_of(layout, *shape)), f"correct {key}")
        for key, shape in expected.items()
        if shapes[key] != shape
    ]


def _append(
    k_cache: Tensor, v_cache: Tensor, k: Tensor, v: Tensor, cache_seqlens: Tensor,
    cache_batch_idx: Tensor | None = None, block_table: Tensor | None = None, layout: str = "bshd",
) -> Tensor:  # fmt: skip
    name = _check(k_cache, v_cache, k, v, cache_seqlens, cache_batch_idx, block_table, layout)
    views = [layouts.as_bshd(x, name, x.size(-1)) for x in (k_cache, v_cache, k, v)]
    call = Append(views[0], views[1], views[2], views[3], cache_seqlens, cache_batch_idx, block_table)
    if call.k.size(0) == 0 or call.k.size(1) == 0:
        return cache_seqlens.clone()
    backend = current_backend()
    if k.device.type == "npu":
        call.check()
        from .npu import append as on_npu

        return on_npu.append(call, backend)
    places = _places(call)
    if k.device.type == "cpu" and backend.name == "sim":
        call.check()
        from .sim import append as on_sim

        return on_sim.append(call, backend)
    for cache, x in ((call.k_cache, call.k), (call.v_cache, call.v)):
        cache.index_put_(places, x)
    return cache_seqlens + call.k.size(1)


def _places(call: Append) -> tuple[Tensor, Tensor]:
    """(row or page, position in it) of every new token, each (b, tokens); checked on the host."""
    b, tokens = call.k.shape[:2]
    on_host = call.k.device.type == "cpu"
    rows, size = call.k_cache.shape[:2]
    position = call.cache_seqlens.long()[:, None] + torch.arange(tokens, device=call.k.device)
    if on_host:
        _check_positions(position, size if call.block_table is None else size * call.block_table.size(1))
    if call.block_table is not None:
        name, row = "block_table value", call.block_table.long().gather(1, position // size)
        position = position % size
    else:
        name, entry = "cache_batch_idx value", call.cache_batch_idx
        entry = torch.arange(b, device=call.k.device) if entry is None else entry.long()
        row = entry[:, None].expand(b, tokens)
    if on_host:
        _check_rows(name, row, rows)
    return row, position


def _check_positions(position: Tensor, capacity: int) -> None:
    least, most = (int(x) for x in torch.aminmax(position))
    if least < 0 or most >= capacity:
        received = least if least < 0 else most + 1
        limit = f"0 to {capacity} (tokens in the cache after the append)"
        remedy = "allocate a longer cache, or more pages"
        raise ArgumentError(HEADLINE, [Reason("cache_seqlens + new tokens", received, limit, remedy)])


def _check_rows(name: str, row: Tensor, count: int) -> None:
    least, most = (int(x) for x in torch.aminmax(row))
    if least < 0 or most >= count:
        limit = f"0 to {count - 1}, the cache's own"
        raise ArgumentError(HEADLINE, [Reason(name, least if least < 0 else most, limit, "name existing ones")])


def _append_fake(*args: Any, **kwargs: Any) -> Tensor:
    names = ("k_cache", "v_cache", "k", "v", "cache_seqlens", "cache_batch_idx", "block_table", "layout")
    given = {"cache_batch_idx": None, "block_table": None, "layout": "bshd"} | dict(zip(names, args, strict=False))
    given |= kwargs
    _check(**given)
    return torch.empty_like(given["cache_seqlens"])


LIBRARY.impl("append_kv_cache_", _append, "CompositeExplicitAutograd")
torch.library.register_fake("fastattn::append_kv_cache_", _append_fake, lib=LIBRARY)
