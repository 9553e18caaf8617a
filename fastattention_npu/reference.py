"""What the right answer is, and how near an output must come to it.

`attention_float64` is the definition of the operator's semantics. `attention_same_precision` is ordinary PyTorch
attention in the inputs' dtype; its own error against float64 sets the tolerance. Both take the operator's arguments.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .arguments import sizes
from .options import Options
from .torch_attention import attend

FLOOR = 1e-5  # added to every tolerance: fp32 rounding where the same-precision reference happens to be exact
ERROR_FACTOR = 2.0  # of the same-precision reference's own error


def attention_float64(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    """O = softmax(softmax_scale · Q Kᵀ + mask) V in float64: O in the layout of q and lse (b, h_q, s_q), for
    tnd (h_q, tokens), both float64. options: the operator's, by name.

    A row without a visible key has O = 0 and lse = -inf (with a sink: the sink), as has a row whose visible scores are
    all -inf. A row with a NaN or +inf among its visible scores is NaN, and so is its lse. Keys that a row does not see
    have no influence on it, whatever K and V hold there.
    """
    return _attention(q, k, v, options, torch.float64)


def attention_same_precision(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    """Plain PyTorch attention in the dtype of q: Q Kᵀ, scaling, softmax and P V each rounded to it; lse from its S.

    torch.nn.functional.scaled_dot_product_attention's math path with reduced-precision arithmetic allowed. The products
    are computed in fp32 and then rounded, which is what an fp16 matmul with fp32 accumulation does; on the CPU, torch's
    own fp16 matmul can be a hundred times slower. What is added to the scores is added in fp32.
    """
    return _attention(q, k, v, options, q.dtype)


def _attention(q: Tensor, k: Tensor, v: Tensor, values: dict[str, Any], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    options = Options.from_names(values, "reference")
    p = sizes(q, k, v, options)
    out = torch.empty(p.out_shape, dtype=dtype, device=q.device)
    lse = torch.empty(p.lse_shape, dtype=torch.float64 if dtype == torch.float64 else torch.float32, device=q.device)
    attend(q, k, v, options, p, out, lse, dtype=dtype)
    return out, lse


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
