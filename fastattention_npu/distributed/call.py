"""One rank's call of attention_linear_allreduce: checked arguments, and the attention of any range of its tokens.

A range is cut into segments, one for each sequence it meets; a segment is an attention problem of its own, with the
keys that its rows may see and windows counted from its own diagonal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import limits
from ..arguments import DTYPE_NAMES
from ..errors import ArgumentError, Reason

HEADLINE = "attention_linear_allreduce cannot take these arguments"
DEVICES = ("cpu", "cuda", "npu")


@dataclass(frozen=True)
class Segment:
    """Rows first ... end of the flattened queries against keys key_first ... key_end of the flattened keys; the window
    counts from the segment's bottom-right diagonal."""

    first: int
    end: int
    key_first: int
    key_end: int
    window: tuple[int, int]


@dataclass(frozen=True)
class Call:
    """q (tokens, h, d), k and v (keys, h_kv, d), w_o (hidden, h * d_v), each contiguous in its last dimension; lengths
    hold (queries, keys) of each sequence, laid end to end."""

    q: Tensor
    k: Tensor
    v: Tensor
    w_o: Tensor
    bias: Tensor | None
    softmax_scale: float | None
    window: tuple[int, int]
    lengths: tuple[tuple[int, int], ...]

    @property
    def tokens(self) -> int:
        return self.q.size(0)

    @property
    def hidden(self) -> int:
        return self.w_o.size(0)

    def segments(self, begin: int, end: int) -> Iterator[Segment]:
        """The parts of tokens begin ... end, sequence by sequence."""
        start = key_start = 0
        for queries, keys in self.lengths:
            first, last = max(begin, start), min(end, start + queries)
            if first < last:
                yield _segment(first - start, last - start, queries, keys, start, key_start, self.window)
            start, key_start = start + queries, key_start + keys


def _segment(
    first: int, end: int, queries: int, keys: int, start: int, key_start: int, window: tuple[int, int]
) -> Segment:
    left, right = window
    offset = keys - queries
    # Keys behind the last row's right limit are left out; what that moves the diagonal by, the window makes up for.
    seen = keys if right < 0 else max(0, min(keys, end + offset + right))
    shift = end + offset - seen
    return Segment(
        start + first,
        start + end,
        key_start,
        key_start + seen,
        (left - shift if left >= 0 else -1, right + shift if right >= 0 else -1),
    )


def check_call(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w_o: Tensor,
    bias: Tensor | None,
    causal: bool,
    window: tuple[int, int],
    cu_seqlens_q: Tensor | None,
    cu_seqlens_k: Tensor | None,
) -> None:
    """Raises ArgumentError with every reason; looks at sizes and types only."""
    tensors = {"q": q, "k": k, "v": v}
    rank = 4 if cu_seqlens_q is None else 3
    names = "(b, s, h, d)" if rank == 4 else "(tokens, h, d) with cu_seqlens"
    reasons = [
        Reason(f"{name}.dim()", x.dim(), f"{rank}, {names}", "reshape it")
        for name, x in tensors.items()
        if x.dim() != rank
    ]
    reasons += [
        Reason(f"{name}.dtype", x.dtype, f"that of q, {q.dtype}", f"use {name}.to(q.dtype)")
        for name, x in (tensors | {"w_o": w_o, "bias": bias}).items()
        if x is not None and x.dtype != q.dtype
    ]
    if q.dtype not in DTYPE_NAMES:
        reasons.append(Reason("q.dtype", q.dtype, f"one of {', '.join(DTYPE_NAMES.values())}", "cast the tensors"))
    if (cu_seqlens_q is None) != (cu_seqlens_k is None):
        reasons.append(Reason("cu_seqlens", "one of two", "both or none", "pass cu_seqlens_q and cu_seqlens_k"))
    if causal and window[1] > 0:
        reasons.append(Reason("window_right", window[1], "0 or -1 with causal", "leave one of them out"))
    if reasons:
        raise ArgumentError(HEADLINE, reasons)
    reasons += _size_reasons(tensors, w_o, bias)
    if reasons:
        raise ArgumentError(HEADLINE, reasons)


def _size_reasons(tensors: dict[str, Tensor], w_o: Tensor, bias: Tensor | None) -> list[Reason]:
    q, k, v = tensors.values()
    width = q.size(-2) * v.size(-1)
    reasons = []
    if w_o.dim() != 2 or w_o.size(1) != width:
        limit = f"(hidden, h_q * d_v = {width}): this rank's columns of the projection's weight"
        reasons.append(Reason("w_o.shape", tuple(w_o.shape), limit, "cut the weight along its second dimension"))
    elif bias is not None and tuple(bias.shape) != (w_o.size(0),):
        reasons.append(Reason("bias.shape", tuple(bias.shape), f"({w_o.size(0)},)", "correct the shape of bias"))
    if k.size(-1) != q.size(-1) or k.shape[:-1] != v.shape[:-1] or k.shape[: q.dim() - 3] != q.shape[: q.dim() - 3]:
        limit = f"batch and d of q, {tuple(q.shape)}, and the same tokens and heads"
        reasons.append(Reason("k.shape, v.shape", (tuple(k.shape), tuple(v.shape)), limit, "correct the shapes"))
    if k.size(-2) == 0 or q.size(-2) % k.size(-2) != 0:
        remedy = "give each rank whole groups of query heads"
        reasons.append(Reason("h_q", q.size(-2), f"a multiple of h_kv = {k.size(-2)}", remedy))
    for name in ("d",):
        reasons += limits.OPERATOR[name].check(q.size(-1))
    reasons += [
        Reason(f"{name}.device", x.device, f"that of q, {q.device}", f"use {name}.to(q.device)")
        for name, x in (tensors | {"w_o": w_o, "bias": bias}).items()
        if x is not None and x.device != q.device
    ]
    return reasons


def make_call(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    w_o: Tensor,
    bias: Tensor | None,
    softmax_scale: float | None,
    causal: bool,
    window: tuple[int, int],
    cu_seqlens_q: Tensor | None,
    cu_seqlens_k: Tensor | None,
) -> Call:
    """The call of checked arguments. Packed lengths are read here; on a GPU that waits for them."""
    if cu_seqlens_q is None or cu_seqlens_k is None:
        lengths = ((q.size(1), k.size(1)),) * q.size(0)
        q, k, v = (x.flatten(0, 1) for x in (q, k, v))
    else:
        starts_q, starts_k = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
        pairs = zip(starts_q[1:], starts_q, starts_k[1:], starts_k, strict=False)
        lengths = tuple((a - b, c - d) for a, b, c, d in pairs)
        check_lengths(starts_q, starts_k, q.size(0), k.size(0))
    return Call(q, k, v, w_o, bias, softmax_scale, (window[0], 0) if causal else window, lengths)


def check_blocks(blocks: Sequence[int] | None, tokens: int) -> None:
    if blocks is not None and (sum(blocks) != tokens or min(blocks, default=1) < 1):
        limit = f"positive sizes that add up to the {tokens} tokens"
        raise ArgumentError(HEADLINE, [Reason("blocks", list(blocks), limit, "correct the token blocks")])


def check_lengths(starts_q: list[int], starts_k: list[int], tokens: int, keys: int) -> None:
    reasons = []
    for name, starts, total in (("cu_seqlens_q", starts_q, tokens), ("cu_seqlens_k", starts_k, keys)):
        if len(starts) != len(starts_q) or starts[0] != 0 or starts[-1] != total or sorted(starts) != starts:
            limit = f"{len(starts_q)} values from 0 up to {total}, not decreasing"
            reasons.append(Reason(name, starts, limit, "pass the running sum of the lengths"))
    if reasons:
        raise ArgumentError(HEADLINE, reasons)


def attend(call: Call, begin: int, end: int) -> Tensor:
    """Attention of tokens begin ... end: (end - begin, h * d_v)."""
    width = call.q.size(1) * call.v.size(2)
    rows = [_attend_segment(call, segment) for segment in call.segments(begin, end)]
    if len(rows) == 1:
        return rows[0].reshape(end - begin, width)
    return torch.cat(rows).reshape(end - begin, width)


def _attend_segment(call: Call, s: Segment) -> Tensor:
    q = call.q[s.first : s.end].unsqueeze(0)
    if s.key_end <= s.key_first:
        return q.new_zeros((s.end - s.first, q.size(2), call.v.size(2)))
    k, v = (x[s.key_first : s.key_end].unsqueeze(0) for x in (call.k, call.v))
    left, right = s.window
    if q.is_cuda:
        from .. import cuda

        # A window that reaches no further than the diagonal is causal there.
        causal = right == 0 and left < 0
        window = (-1, -1) if causal else (left, right)
        out, _ = cuda.forward(q, k, v, softmax_scale=call.softmax_scale, causal=causal, window_size=window)
    elif q.device.type == "cpu":
        from .. import cpu

        out, _ = cpu.forward(
            q, k, v, softmax_scale=call.softmax_scale, window_left=left, window_right=right, return_lse=False
        )
    else:
        if left >= 0 or right > 0:
            limit = "causal or without limits where the operator runs the attention"
            raise ArgumentError(HEADLINE, [Reason("window", call.window, limit, "leave the window out")])
        out, _ = torch.ops.fastattn.flash_attention(q, k, v, call.softmax_scale, right == 0)
    return out.squeeze(0)
