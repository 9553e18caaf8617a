"""Argument checks of torch.ops.fastattn.flash_attention, shared by its fake and its real path and by every backend.

Metadata only, so that fake and real raise the same error: nothing here reads a tensor's values (argument_values.py
does, on the host). Every reason is collected; rules that need an earlier one to hold (a size of a tensor of the wrong
rank) are left out when it does not. What a backend takes stands in limits.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from . import layouts, limits
from .argument_tensors import mask_reasons, option_reasons
from .errors import ArgumentError, Reason, did_you_mean
from .options import Options

HEADLINE = "flash_attention cannot take these arguments"
DTYPE_NAMES = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}
TORCH_DTYPES = {name: dtype for dtype, name in DTYPE_NAMES.items()}
DEVICE_BACKENDS = {"cuda": "cuda", "npu": "npu"}  # device type -> backend; CPU tensors go where dispatch.py says


@dataclass(frozen=True)
class Problem:
    """Checked sizes of a call (integers, or symbolic ones while tracing).

    s_q, s_kv: rows of every batch entry; of packed sequences at least those of the longest. tokens_q: rows of q, all
    sequences together where they are packed. page_size: tokens of a page, or a whole cache row with cache_batch_idx; 0
    where the batch entries of k lie in order.
    """

    b: int
    s_q: int
    s_kv: int
    h_q: int
    h_kv: int
    d: int
    d_v: int
    layout: str
    kv_layout: str
    tokens_q: int
    page_size: int = 0

    @property
    def packed(self) -> bool:
        return self.layout == "tnd"

    @property
    def out_shape(self) -> tuple[int, ...]:
        return layouts.shape_of(self.layout, self.b, self.tokens_q, self.h_q, self.d_v)

    @property
    def lse_shape(self) -> tuple[int, ...]:
        return (self.h_q, self.tokens_q) if self.packed else (self.b, self.h_q, self.s_q)


def check_arguments(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: Options,
    backend: str,
    headline: str = HEADLINE,
    more: Sequence[Reason] = (),
) -> Problem:
    """The call's sizes; raises ArgumentError with every reason why `backend` cannot serve it, `more` first."""
    tensors = {"q": q, "k": k, "v": v}
    reasons = [
        *more,
        *_device_reasons(tensors, options, backend),
        *_dtype_reasons(tensors, backend),
        *_number_reasons(options),
    ]
    name = limits.LAYOUTS.get(options.layout.lower())
    if name is None:
        nearest = did_you_mean(options.layout, limits.LAYOUTS, "name one of these, or permute the tensors")
        reasons.append(Reason("layout", repr(options.layout), f"one of {', '.join(limits.LAYOUTS)}", nearest))
        raise ArgumentError(headline, reasons)
    kv_name = "bshd" if name == "tnd" and _cached(options) else name
    reasons += _tensor_reasons(tensors, name, kv_name, backend)
    ranks_hold = all(x.dim() == layouts.RANKS[name if key == "q" else kv_name] for key, x in tensors.items())
    unusable = _index_reasons(options, name)
    unusable += _head_dim_reasons(tensors, name, options.head_dim) if ranks_hold else []
    reasons += unusable
    if unusable or not ranks_hold:
        raise ArgumentError(headline, reasons)
    problem = sizes(q, k, v, options)
    reasons += _shape_reasons(tensors, options, problem)
    reasons += limits.size_reasons(problem, backend)
    reasons += limits.feature_reasons(options, problem, backend)
    reasons += option_reasons(options, problem)
    reasons += mask_reasons(options, problem, backend, q.dtype)
    if reasons:
        raise ArgumentError(headline, reasons)
    return problem


def _cached(options: Options) -> bool:
    """Whether k and v are pages or cache rows, which keep their own batch dimension whatever the queries' layout."""
    return options.block_table is not None or options.cache_batch_idx is not None


def _device_reasons(tensors: dict[str, Tensor], options: Options, backend: str) -> list[Reason]:
    device = tensors["q"].device
    reasons = []
    if device.type not in ("cpu", "meta", *DEVICE_BACKENDS):
        names = ", ".join(("cpu", *DEVICE_BACKENDS))
        reasons.append(Reason("q.device", device, f"on one of: {names}", "move the tensors: q.cpu(), ..."))
    if device.type == "cpu" and backend == "npu":
        reasons.append(Reason("q.device", device, "npu inside backend('npu')", "move the tensors: q.npu(), ..."))
    return reasons + [
        Reason(f"{name}.device", tensor.device, f"that of q, {device}", f"use {name}.to(q.device)")
        for name, tensor in (tensors | options.tensors()).items()
        if tensor.device != device
    ]


def _dtype_reasons(tensors: dict[str, Tensor], backend: str) -> list[Reason]:
    q = tensors["q"]
    names = limits.TABLE[backend].dtypes
    reasons = []
    if DTYPE_NAMES.get(q.dtype) not in names:
        limit = f"one of {', '.join(names)} on backend {backend}"
        reasons.append(Reason("q.dtype", q.dtype, limit, f"cast q, k and v to {TORCH_DTYPES[names[0]]}"))
    reasons += [
        Reason(f"{name}.dtype", tensor.dtype, f"that of q, {q.dtype}", f"use {name}.to(q.dtype)")
        for name, tensor in tensors.items()
        if tensor.dtype != q.dtype
    ]
    return reasons


def _number_reasons(options: Options) -> list[Reason]:
    """Options that are plain numbers. A symbolic number is neither int nor float; it is checked when the call runs."""
    reasons = []
    scale, softcap = options.softmax_scale, options.softcap
    if isinstance(scale, (int, float)) and not math.isfinite(scale):
        reasons.append(Reason("softmax_scale", scale, "a finite number", "leave it out for 1 / sqrt(d)"))
    if isinstance(softcap, (int, float)) and not (math.isfinite(softcap) and softcap >= 0):
        reasons.append(Reason("softcap", softcap, "finite and not negative", "leave it out for none"))
    for name in ("window_left", "window_right", "num_splits"):
        value = getattr(options, name)
        if isinstance(value, int):
            reasons += limits.ARGUMENTS[name].check(value, "leave it out" if value < 0 else "")
    return reasons


def _tensor_reasons(tensors: dict[str, Tensor], layout: str, kv_layout: str, backend: str) -> list[Reason]:
    """Rank and last stride of each tensor by itself."""
    reasons = []
    for name, tensor in tensors.items():
        own = layout if name == "q" else kv_layout
        if tensor.layout != torch.strided:
            reasons.append(Reason(f"{name}.layout", tensor.layout, "strided", f"use {name}.to_dense()"))
        elif tensor.dim() != layouts.RANKS[own]:
            limit = f"{layouts.RANKS[own]} for layout {own}, {layouts.DIMS[own]}"
            reasons.append(Reason(f"{name}.dim()", tensor.dim(), limit, f"reshape {name} or name its layout"))
        elif limits.TABLE[backend].unit_stride and tensor.size(-1) > 1 and tensor.stride(-1) != 1:
            limit = f"1 on backend {backend} (elements of a head lie side by side)"
            reasons.append(Reason(f"{name}.stride(-1)", tensor.stride(-1), limit, f"use {name}.contiguous()"))
    return reasons


def _index_reasons(options: Options, layout: str) -> list[Reason]:
    """Ranks of the index tensors that sizes are read from."""
    reasons = []
    for name, rank, dims in (("cu_seqlens_q", 1, "(b + 1,)"), ("block_table", 2, "(b, pages)")):
        tensor = getattr(options, name)
        if tensor is not None and (tensor.dim() != rank or (rank == 1 and tensor.size(0) == 0)):
            reasons.append(Reason(f"{name}.shape", tuple(tensor.shape), dims, f"correct the shape of {name}"))
    if layout == "tnd" and options.cu_seqlens_q is None:
        limit = "given for layout tnd"
        reasons.append(Reason("cu_seqlens_q", None, limit, "pass where each sequence starts and the last ends, int32"))
    return reasons


def _head_dim_reasons(tensors: dict[str, Tensor], layout: str, head_dim: int | None) -> list[Reason]:
    """bsh needs the head dimension; the other layouts have it in the last dimension."""
    d = tensors["q"].size(-1)
    if layout != "bsh":
        if head_dim is None or head_dim == d:
            return []
        return [Reason("head_dim", head_dim, f"q.size(-1) = {d} for layout {layout}", "leave head_dim out")]
    if head_dim is None or head_dim < 1:
        return [Reason("head_dim", head_dim, "at least 1 for layout bsh", "pass the head dimension d")]
    reasons = [
        Reason(f"{name}.size(-1)", tensors[name].size(-1), f"a multiple of head_dim = {head_dim}", "correct head_dim")
        for name in ("q", "k")
        if tensors[name].size(-1) % head_dim != 0
    ]
    h_kv = tensors["k"].size(-1) // head_dim
    if not reasons and h_kv > 0 and tensors["v"].size(-1) % h_kv != 0:
        limit = f"a multiple of h_kv = {h_kv}"
        reasons.append(Reason("v.size(-1)", tensors["v"].size(-1), limit, "give v as many heads as k"))
    return reasons


def sizes(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Problem:
    """The sizes of a call whose ranks and names are right."""
    layout = limits.LAYOUTS[options.layout.lower()]
    kv_layout = "bshd" if layout == "tnd" and _cached(options) else layout
    b, tokens_q, h_q, d = layouts.sizes_of(layout, q.shape, options.head_dim)
    _, rows_k, h_kv, _ = layouts.sizes_of(kv_layout, k.shape, options.head_dim)
    width_v = v.size(-1)
    d_v = width_v // h_kv if layout == "bsh" and h_kv != 0 else width_v
    page_size = rows_k if _cached(options) else 0
    s_q, s_kv = tokens_q, rows_k
    if layout == "tnd":
        assert options.cu_seqlens_q is not None, "checked before"
        b = options.cu_seqlens_q.size(0) - 1
        s_q = tokens_q if options.max_seqlen_q is None else options.max_seqlen_q
        s_kv = rows_k if options.max_seqlen_k is None or _cached(options) else options.max_seqlen_k
    if options.block_table is not None:
        s_kv = rows_k * options.block_table.size(1)
    return Problem(b, s_q, s_kv, h_q, h_kv, d, d_v, layout, kv_layout, tokens_q, page_size)


def _shape_reasons(tensors: dict[str, Tensor], options: Options, p: Problem) -> list[Reason]:
    """k and v against q and each other."""
    batch, rows, _, _ = layouts.sizes_of(p.kv_layout, tensors["k"].shape, options.head_dim)
    in_order = not _cached(options)
    batch_k = p.b if in_order else batch
    reasons = []
    for name, d in (("k", p.d), ("v", p.d_v)):
        expected = layouts.shape_of(p.kv_layout, batch_k, rows, p.h_kv, d)
        shape = tuple(tensors[name].shape)
        if shape != expected:
            origin = "d of q, " * (name == "k") + "b of q, " * in_order + "the rest of k"
            limit = f"{expected}, {layouts.DIMS[p.kv_layout]} with {origin}"
            reasons.append(Reason(f"{name}.shape", shape, limit, f"correct the shape of {name}"))
    if p.h_kv != 0 and p.h_q % p.h_kv != 0:
        limit = f"a multiple of h_kv = {p.h_kv}"
        reasons.append(Reason("h_q", p.h_q, limit, "repeat or drop key heads until h_kv divides h_q"))
    return reasons
