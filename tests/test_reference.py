"""The reference and the comparator; each mistake that the comparator is there to find is fed to it (canaries)."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fastattention_npu import reference
from fastattention_npu.reference import attention_float64, attention_same_precision, check


def make_qkv(s_q: int = 70, s_kv: int = 90, h_q: int = 4, h_kv: int = 2, d: int = 32) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    sizes = ((s_q, h_q), (s_kv, h_kv), (s_kv, h_kv))
    q, k, v = (torch.randn(2, s, h, d, generator=generator).half() for s, h in sizes)
    return q, k, v


def sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True).transpose(1, 2)


def right_answer(**options: Any) -> tuple[Tensor, Tensor, Tensor]:
    """(an fp16 output that is right, float64, same precision) of causal attention."""
    q, k, v = make_qkv()
    ref64 = attention_float64(q, k, v, causal=True, **options)[0]
    return ref64.half(), ref64, attention_same_precision(q, k, v, causal=True, **options)[0]


# --- the reference ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("s_q", "s_kv"), [(70, 90), (90, 70), (600, 600), (1, 5)])
@pytest.mark.parametrize("causal", [False, True])
def test_float64_is_torch_attention(s_q: int, s_kv: int, causal: bool) -> None:
    q, k, v = make_qkv(s_q, s_kv)
    mask = torch.ones(s_q, s_kv).bool().tril(s_kv - s_q) if causal else None
    out, lse = attention_float64(q, k, v, causal=causal)
    expected = sdpa(q.double(), k.double(), v.double(), mask)
    torch.testing.assert_close(out, expected, atol=1e-13, rtol=1e-12)
    scores = torch.einsum("bqhd,bkhd->bhqk", q.double(), k.double().repeat_interleave(2, 2)) / 32**0.5
    scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
    torch.testing.assert_close(lse, scores.logsumexp(-1), atol=1e-13, rtol=1e-12)


def test_same_precision_errs_as_torch_fp16_attention_does() -> None:
    """torch's math path with fp16 arithmetic has the same error, to within a third."""
    q, k, v = make_qkv(256, 256)
    ref64 = attention_float64(q, k, v)[0]
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # despite its name it rules the CPU too
    try:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            torch_out = sdpa(q, k, v, None)
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)
    ours = check(attention_same_precision(q, k, v)[0], ref64, torch_out)
    assert ours.rel_err == pytest.approx(ours.ref_rel_err, rel=1 / 3)


def test_rows_without_keys() -> None:
    q, k, v = make_qkv(5, 3)
    for attention in (attention_float64, attention_same_precision):
        out, lse = attention(q, k, v, causal=True)
        assert not out[:, :2].any()
        assert (lse[..., :2] == -torch.inf).all()
        out, lse = attention(q, k, v, seqused_k=torch.tensor([0, 3]))
        assert not out[0].any()
        assert lse[1].isfinite().all()


def test_special_values_reach_the_rows_that_see_them() -> None:
    q, k, v = make_qkv(8, 8)
    v[0, 5, 0, 3] = torch.inf
    v[1, 6, 1, 2] = torch.nan
    k[1, 7, 0, 0] = torch.nan
    out, lse = attention_float64(q, k, v, causal=True)
    assert (out[0, 5:, :2, 3] == torch.inf).all()
    assert out[1, 6:, 2:, 2].isnan().all()
    assert out[1, 7, :2].isnan().all()
    assert lse[1, :2, 7].isnan().all()
    assert (~out.isfinite()).sum() == 3 * 2 + 2 * 2 + 2 * 32


@pytest.mark.parametrize("layout", ["bnsd", "bsh"])
def test_layouts_agree(layout: str) -> None:
    q, k, v = make_qkv()
    expected, _ = attention_float64(q, k, v, causal=True)
    views = [x.transpose(1, 2) if layout == "bnsd" else x.flatten(2) for x in (q, k, v)]
    out, _ = attention_float64(*views, causal=True, layout=layout, head_dim=32)
    assert torch.equal(out, expected.transpose(1, 2) if layout == "bnsd" else expected.flatten(2))


# --- the comparator's canaries ---------------------------------------------------------------------------------------


def test_a_right_answer_passes() -> None:
    comparison = check(*right_answer())
    assert comparison.ok
    assert 0 < comparison.rel_err < comparison.ref_rel_err * 2


@pytest.mark.parametrize("shift", [-1, 1])
def test_canary_mask_off_by_one(shift: int) -> None:
    q, k, v = make_qkv()
    wrong = sdpa(q.double(), k.double(), v.double(), torch.ones(70, 90).bool().tril(20 + shift)).half()
    assert not check(wrong, *right_answer()[1:]).ok


def test_canary_top_left_causal() -> None:
    q, k, v = make_qkv()
    wrong = sdpa(q.double(), k.double(), v.double(), torch.ones(70, 90).bool().tril()).half()
    assert not check(wrong, *right_answer()[1:]).ok


def test_canary_swapped_heads() -> None:
    out, ref64, same = right_answer()
    assert not check(out[:, :, [1, 0, 2, 3]], ref64, same).ok


def test_canary_one_wrong_row() -> None:
    out, ref64, same = right_answer()
    out[1, 69, 3] = out[1, 68, 3]
    assert not check(out, ref64, same).ok


def test_canary_scale_off_by_a_percent() -> None:
    out, ref64, same = right_answer()
    assert not check((out.float() * 1.01).half(), ref64, same).ok
    assert not check(right_answer(softmax_scale=1.1 / 32**0.5)[0], ref64, same).ok


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf], ids=str)
def test_canary_special_value_at_another_place(value: float) -> None:
    out, ref64, same = right_answer()
    out[0, 3, 1, 2] = value
    assert "elements, the first at (0, 3, 1, 2)" in check(out, ref64, same).reasons[0]
    assert not check(out.nan_to_num(), *(x.index_fill(1, torch.tensor(3), value) for x in (ref64, same))).ok


def test_canary_inf_of_the_other_sign() -> None:
    out, ref64, same = right_answer()
    ref64[0, 0, 0, 0], out[0, 0, 0, 0] = torch.inf, -torch.inf
    assert not check(out, ref64, same).ok
    out[0, 0, 0, 0] = torch.inf
    assert check(out, ref64, same).ok


def test_canary_untouched_poison_and_wrong_shape() -> None:
    out, ref64, same = right_answer()
    assert not check(torch.full_like(out, torch.nan), ref64, same).ok
    assert not check(out[:, :-1], ref64, same).ok


def test_canary_lse_in_base_two() -> None:
    q, k, v = make_qkv()
    ref64, same = (f(q, k, v)[1] for f in (attention_float64, attention_same_precision))
    assert check(ref64.float(), ref64, same).ok
    assert not check((ref64 / torch.tensor(2.0).log()).float(), ref64, same).ok


def test_zero_reference_allows_the_floor_only() -> None:
    zero = torch.zeros(4, 4).double()
    assert check(zero.half(), zero, zero.half()).ok
    assert not check(zero.half() + 2 * reference.FLOOR, zero, zero.half()).ok
