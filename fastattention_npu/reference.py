"""What the right answer is, and how near an output must come to it.

`attention_float64` is the definition of the operator's semantics. `attention_same_precision` is ordinary PyTorch
attention in the inputs' dtype; its own error against float64 sets the tolerance. Chunked over heads and rows, so that a
production shape takes seconds.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from . import layouts

FLOOR = 1e-5  # added to every tolerance: fp32 rounding where the same-precision reference happens to be exact
ERROR_FACTOR = 2.0  # of the same-precision reference's own error
ROWS = 256  # of one chunk; small, so that causality leaves work out
SCORES_ELEMS = 1 << 22  # of one chunk of S


def attention_float64(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    softmax_scale: float | None = None,
    causal: bool = False,
    seqused_k: Tensor | None = None,
    layout: str = "bshd",
    head_dim: int | None = None,
) -> tuple[Tensor, Tensor]:
    """O = softmax(softmax_scale · Q Kᵀ + mask) V in float64: (O in the layout of q, lse (b, h_q, s_q)), both float64.

    A row without a visible key has O = 0 and lse = -inf, as has a row whose visible scores are all -inf. A row with a
    NaN or +inf among its visible scores is NaN, and so is its lse. Keys that a row does not see have no influence on
    it, whatever K and V hold there.
    """
    return _attention(q, k, v, softmax_scale, causal, seqused_k, layout, head_dim, torch.float64)


def attention_same_precision(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    softmax_scale: float | None = None,
    causal: bool = False,
    seqused_k: Tensor | None = None,
    layout: str = "bshd",
    head_dim: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Plain PyTorch attention in the dtype of q: Q Kᵀ, scaling, softmax and P V each rounded to it; lse from its S.

    torch.nn.functional.scaled_dot_product_attention's math path with reduced-precision arithmetic allowed. The products
    are computed in fp32 and then rounded, which is what an fp16 matmul with fp32 accumulation does; on the CPU, torch's
    own fp16 matmul can be a hundred times slower.
    """
    return _attention(q, k, v, softmax_scale, causal, seqused_k, layout, head_dim, q.dtype)


def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    softmax_scale: float | None,
    causal: bool,
    seqused_k: Tensor | None,
    layout: str,
    head_dim: int | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    d = q.size(-1) if head_dim is None else head_dim
    out = torch.empty_like(q, dtype=dtype, memory_format=torch.contiguous_format)
    q, k, v, o = (layouts.as_bshd(x, layout, d) for x in (q, k, v, out))  # (b, s, h, d)
    b, s_q, h_q, _ = q.shape
    s_kv, group = k.size(1), h_q // k.size(2)
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    lse = torch.empty(b, h_q, s_q, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    rows = max(1, min(s_q, ROWS, SCORES_ELEMS // max(s_kv, 1)))
    for i in range(b):
        n = s_kv if seqused_k is None else int(seqused_k[i])
        for h in range(h_q):
            k_h, v_h = (x[i, :n, h // group].to(lse.dtype) for x in (k, v))  # (n, d)
            for r in range(0, s_q, rows):
                q_r = q[i, r : r + rows, h].to(lse.dtype)  # (r, d)
                # Row r sees the keys c <= r + n - s_q; those that the chunk's last row does not see are left out.
                first = r + n - s_q if causal else n
                seen = min(n, max(first + q_r.size(0), 0))
                hidden = torch.arange(seen) > torch.arange(first, first + q_r.size(0))[:, None] if causal else None
                part = o[i, r : r + rows, h], lse[i, h, r : r + rows]
                _rows(q_r, k_h[:seen], v_h[:seen], scale, hidden, *part)
    return out, lse


def _rows(q: Tensor, k: Tensor, v: Tensor, scale: float, hidden: Tensor | None, o: Tensor, lse: Tensor) -> None:
    """Fills o (r, d) and lse (r) of some rows of one head; S, P and O are rounded to the dtype of o."""
    if k.size(0) == 0:
        o.zero_()
        lse.fill_(-torch.inf)
        return
    s = (q @ k.T).to(o.dtype).mul_(scale)  # (r, n)
    if hidden is not None:
        s.masked_fill_(hidden, -torch.inf)
    s = s.to(q.dtype)
    row_max = s.amax(-1, keepdim=True)  # (r, 1)
    row_max = torch.where(row_max == -torch.inf, 0.0, row_max)
    p = s.sub_(row_max).exp_()  # (r, n)
    row_sum = p.sum(-1, keepdim=True)  # (r, 1)
    p = p.div_(torch.where(row_sum == 0, 1.0, row_sum)).to(o.dtype)
    o.copy_(_product(p.to(q.dtype), v, hidden))
    lse.copy_((row_max + row_sum.log()).squeeze(-1))


def _product(p: Tensor, v: Tensor, hidden: Tensor | None) -> Tensor:
    """P V (r, d), where the inf and NaN of V reach only the rows that see them (0 · inf would spread them)."""
    special = ~v.isfinite()  # (n, d)
    if hidden is None or not special.any():
        return p @ v
    o = p @ v.masked_fill(special, 0.0)
    sees = (~hidden).to(p.dtype)  # (r, n)
    for value in (torch.inf, -torch.inf):
        o = torch.where(sees @ (v == value).to(p.dtype) > 0, o + value, o)
    return torch.where(sees @ v.isnan().to(p.dtype) > 0, torch.nan, o)


@dataclass(frozen=True)
class Comparison:
    """One output against its references. Errors are over the elements where float64 is finite.

    max_abs_err: largest absolute error; rel_err: root mean square error over root mean square value; ref_*: the
    same-precision reference's own errors. reasons: why it is not ok.
    """

    max_abs_err: float
    rel_err: float
    ref_max_abs_err: float
    ref_rel_err: float
    reasons: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.reasons


def check(out: Tensor, ref64: Tensor, ref_same: Tensor) -> Comparison:
    """Compares an output with float64: inf and NaN must lie where float64 has them, and both the largest and the root
    mean square relative error must stay within ERROR_FACTOR times those of the same-precision reference, plus FLOOR."""
    if out.shape != ref64.shape or ref_same.shape != ref64.shape:
        shapes = f"{tuple(out.shape)}, {tuple(ref64.shape)}, {tuple(ref_same.shape)}"
        return Comparison(math.inf, math.inf, 0.0, 0.0, (f"shapes of out, float64 and reference differ: {shapes}",))
    reasons = _special_value_reasons(out, ref64)
    max_abs_err, rel_err = _errors(out, ref64)
    ref_max_abs_err, ref_rel_err = _errors(ref_same, ref64)
    for name, error, ref_error in (
        ("largest absolute error", max_abs_err, ref_max_abs_err),
        ("relative error", rel_err, ref_rel_err),
    ):
        limit = ERROR_FACTOR * ref_error + FLOOR
        if not error <= limit:
            reasons.append(f"{name} {error:.3e} exceeds {limit:.3e} ({ERROR_FACTOR:g} x {ref_error:.3e} + {FLOOR:g})")
    return Comparison(max_abs_err, rel_err, ref_max_abs_err, ref_rel_err, tuple(reasons))


def _special_value_reasons(out: Tensor, ref64: Tensor) -> list[str]:
    tests = {"NaN": torch.isnan, "+inf": torch.isposinf, "-inf": torch.isneginf}
    reasons = []
    for name, test in tests.items():
        wrong = test(out) != test(ref64)
        if wrong.any():
            first = tuple(wrong.nonzero()[0].tolist())
            reasons.append(f"{name} at other places than float64: {int(wrong.sum())} elements, the first at {first}")
    return reasons


def _errors(out: Tensor, ref64: Tensor) -> tuple[float, float]:
    """Largest absolute and root mean square relative error where both are finite."""
    both = out.isfinite() & ref64.isfinite()
    if not both.any():
        return 0.0, 0.0
    reference = ref64[both]
    difference = out[both].double() - reference
    norm = reference.norm().item()
    error = difference.norm().item()
    relative = error / norm if norm > 0 else (0.0 if error == 0 else math.inf)
    return difference.abs().max().item(), relative
