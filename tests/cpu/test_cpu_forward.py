"""cpu.forward against float64: every option, alone and combined, on every target, with poisoned memory around."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from cpu_reference import Options, attend, check

from fastattention_npu import cpu

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16


@dataclass(frozen=True)
class Case:
    b: int = 1
    s_q: int = 64
    s_kv: int = 64
    h_q: int = 2
    h_kv: int = 2
    d: int = 64
    d_v: int = 0  # 0: like d
    dtype: torch.dtype = F32
    o: Options = field(default_factory=Options)
    alibi: int = 0  # dimensions of the slopes
    sinks: bool = False
    mask: str = ""
    layout: str = "BSND"
    splits: int = 0


CASES = {
    "plain": Case(),
    "causal-f16": Case(s_q=200, s_kv=200, d=128, dtype=F16, o=Options(causal=True)),
    "causal-bf16-tall": Case(s_q=150, s_kv=70, d=128, dtype=BF16, o=Options(causal=True)),
    "causal-wide": Case(s_q=70, s_kv=333, d=80, o=Options(causal=True)),
    "gqa-bf16": Case(b=2, s_q=90, s_kv=300, h_q=8, h_kv=2, d=128, dtype=BF16, o=Options(causal=True)),
    "mqa": Case(s_q=50, s_kv=129, h_q=6, h_kv=1, d=96, dtype=F16),
    "d1": Case(d=1),
    "d7-dv3": Case(d=7, d_v=3, s_q=40, o=Options(causal=True)),
    "d33-f16": Case(d=33, dtype=F16, s_q=33, s_kv=131),
    "d129-dv130": Case(d=129, d_v=130, s_q=20, s_kv=140),
    "d256": Case(d=256, dtype=BF16, s_q=50, s_kv=270, o=Options(causal=True)),
    "d192-dv128": Case(d=192, d_v=128, dtype=F16, s_q=64, s_kv=64),
    "window": Case(s_q=300, s_kv=300, o=Options(window_left=40, window_right=10)),
    "window-causal": Case(s_q=200, s_kv=260, o=Options(causal=True, window_left=33)),
    "window-right": Case(s_q=100, s_kv=90, o=Options(window_right=5)),
    "window-zero": Case(s_q=40, s_kv=40, o=Options(window_left=0, window_right=0)),
    "softcap": Case(s_q=70, s_kv=200, o=Options(softcap=5.0, causal=True)),
    "softcap-small": Case(s_q=70, s_kv=100, dtype=F16, o=Options(softcap=0.5)),
    "alibi": Case(s_q=80, s_kv=170, h_q=4, alibi=1, o=Options(causal=True)),
    "alibi-batch": Case(b=2, s_q=40, s_kv=50, h_q=4, alibi=2),
    "sinks": Case(s_q=60, s_kv=90, h_q=4, sinks=True, o=Options(causal=True)),
    "sinks-hidden-rows": Case(s_q=90, s_kv=30, sinks=True, dtype=F16, o=Options(causal=True)),
    "mask-bool": Case(b=2, s_q=70, s_kv=140, h_q=4, mask="bool"),
    "mask-bool-broadcast": Case(b=2, s_q=70, s_kv=140, h_q=4, mask="bool-broadcast"),
    "mask-add": Case(s_q=70, s_kv=140, mask="add", o=Options(causal=True)),
    "mask-add-bf16": Case(s_q=30, s_kv=140, dtype=BF16, mask="add"),
    "scale-negative": Case(o=Options(scale=-0.3)),
    "bnsd-strided": Case(b=2, s_q=50, s_kv=60, h_q=4, layout="BNSD", dtype=F16),
    "d-strided": Case(b=2, s_q=9, s_kv=60, h_q=4, layout="d-strided"),
    "everything": Case(
        b=2, s_q=130, s_kv=210, h_q=6, h_kv=2, d=72, d_v=56, dtype=F16, alibi=2, sinks=True, mask="bool",
        o=Options(causal=True, window_left=90, softcap=8.0),
    ),
    "split-panels": Case(s_q=40, s_kv=700, h_q=4, h_kv=1, splits=3, o=Options(causal=True), dtype=F16),
    "decode": Case(s_q=1, s_kv=1000, h_q=4, d=128, dtype=F16),
    "decode-gqa2": Case(b=2, s_q=1, s_kv=700, h_q=4, h_kv=2, d=128, dtype=BF16),
    "decode-gqa3": Case(s_q=1, s_kv=333, h_q=6, h_kv=2, d=64, dtype=F16),
    "decode-gqa8": Case(s_q=1, s_kv=200, h_q=8, h_kv=1, d=128, dtype=F32),
    "decode-odd-d": Case(s_q=1, s_kv=200, h_q=5, h_kv=1, d=37, d_v=70, dtype=F16),
    "decode-speculative": Case(s_q=4, s_kv=333, h_q=4, h_kv=2, d=80, dtype=BF16, o=Options(causal=True)),
    "decode-window": Case(s_q=1, s_kv=900, h_q=2, o=Options(causal=True, window_left=100)),
    "decode-split": Case(s_q=2, s_kv=999, h_q=3, h_kv=3, d=48, splits=5, o=Options(causal=True), dtype=F16),
    "decode-hidden": Case(s_q=8, s_kv=3, h_q=1, h_kv=1, o=Options(causal=True), splits=2),
    "decode-everything": Case(
        b=2, s_q=2, s_kv=211, h_q=6, h_kv=2, d=72, d_v=56, dtype=F16, alibi=2, sinks=True, mask="add",
        o=Options(causal=True, window_left=90, softcap=8.0),
    ),
    "one-key": Case(s_q=33, s_kv=1),
    "no-keys": Case(s_q=5, s_kv=0),
    "no-queries": Case(s_q=0, s_kv=5),
}  # fmt: skip


def make_mask(c: Case) -> torch.Tensor | None:
    shape = (c.b, c.h_q, c.s_q, c.s_kv)
    if c.mask == "bool":
        mask = torch.rand(shape) < 0.6
        mask[:, :, c.s_q // 2] = False  # a row that sees nothing
        return mask
    if c.mask == "bool-broadcast":
        return torch.rand(c.b, 1, 1, c.s_kv) < 0.5
    if c.mask == "add":
        mask = torch.randn(1, c.h_q, c.s_q, c.s_kv)
        mask[..., ::7] = -torch.inf
        return mask.to(c.dtype)
    return None


def lay_out(x: torch.Tensor, layout: str) -> torch.Tensor:
    """Equal values of a BSND tensor, in memory as the layout says."""
    if layout == "BNSD":
        return x.transpose(1, 2).contiguous()
    if layout == "d-strided":
        return x.transpose(1, 3).contiguous().transpose(1, 3)
    return x


def poisoned(x: torch.Tensor) -> torch.Tensor:
    """The same tensor as a view into memory full of NaN: whatever is read beside it shows."""
    wide = torch.full((*x.shape[:-2], x.shape[-2] + 2, x.shape[-1] + 5), float("nan"), dtype=x.dtype)
    view = wide[..., 1:-1, 2:-3]
    view.copy_(x)
    return view


def inputs(c: Case) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    d_v = c.d_v or c.d
    q = torch.randn(c.b, c.s_q, c.h_q, c.d).to(c.dtype)
    k = torch.randn(c.b, c.s_kv, c.h_kv, c.d).to(c.dtype)
    v = torch.randn(c.b, c.s_kv, c.h_kv, d_v).to(c.dtype)
    return q, k, v


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_against_float64(case: Case, target: str) -> None:
    q, k, v = inputs(case)
    alibi = torch.rand(case.h_q) if case.alibi == 1 else torch.rand(case.b, case.h_q) if case.alibi == 2 else None
    sinks = torch.randn(case.h_q) * 3 if case.sinks else None
    mask = make_mask(case)
    layout = "BNSD" if case.layout == "BNSD" else "BSND"
    a, b, e = (
        poisoned(lay_out(x, case.layout)) if case.layout != "d-strided" else lay_out(x, case.layout) for x in (q, k, v)
    )
    out = torch.full((*a.shape[:-1], v.shape[-1] + 3), float("nan"), dtype=case.dtype)
    got, lse = cpu.forward(
        a, b, e, softmax_scale=case.o.scale, causal=case.o.causal, window_left=case.o.window_left,
        window_right=case.o.window_right, softcap=case.o.softcap, alibi_slopes=alibi, sinks=sinks, attn_mask=mask,
        layout=layout, out=out[..., : v.shape[-1]], threads=2, num_splits=case.splits,
    )  # fmt: skip
    assert bool(out[..., v.shape[-1] :].isnan().all()), "wrote past a row of out"
    got = got.transpose(1, 2) if layout == "BNSD" else got
    truth = attend(q, k, v, case.o, torch.float64, alibi, sinks, mask)
    same = attend(q, k, v, case.o, case.dtype, alibi, sinks, mask)
    check((got, lse), truth, same)


def test_fully_masked_rows(target: str) -> None:
    for s_q in (5, 90):  # both kernels
        q, k, v = torch.randn(1, s_q, 2, 64), torch.randn(1, 2, 2, 64), torch.randn(1, 2, 2, 64)
        o, lse = cpu.forward(q, k, v, causal=True)
        assert lse is not None
        assert bool((o[:, : s_q - 2] == 0).all())
        assert bool((lse[:, :, : s_q - 2] == -torch.inf).all())
        assert bool(torch.isfinite(lse[:, :, s_q - 2 :]).all())


@pytest.mark.parametrize("s_q", [1, 4, 100])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_hidden_specials_stay_hidden(s_q: int, bad: float, target: str) -> None:
    """A NaN or infinity in k or v reaches exactly the rows that see its key."""
    s_kv = s_q + 100
    q, k, v = (torch.randn(1, s, 2, 64) for s in (s_q, s_kv, s_kv))
    mask = torch.ones(1, 1, s_q, s_kv, dtype=torch.bool)
    mask[..., 20] = False
    k[:, 20] = bad
    v[:, 20] = bad
    v[:, s_kv - 1, 0, 3] = bad  # seen by the last row alone
    o, lse = cpu.forward(q, k, v, causal=True, attn_mask=mask)
    assert lse is not None
    assert bool(torch.isfinite(lse).all())
    assert bool(torch.isfinite(o[:, : s_q - 1]).all())
    assert not bool(torch.isfinite(o[0, s_q - 1, 0, 3]))
    assert bool(torch.isfinite(o[0, s_q - 1, 1]).all())


@pytest.mark.parametrize("s_q", [1, 100])
def test_visible_nan_in_k_and_q(s_q: int, target: str) -> None:
    q, k, v = (torch.randn(1, s, 2, 64) for s in (s_q, s_q + 50, s_q + 50))
    k[0, 3, 0, 5] = float("nan")
    o, lse = cpu.forward(q, k, v, causal=True)
    assert lse is not None
    assert bool(o[:, :, 0].isnan().all())
    assert bool(lse[:, 0].isnan().all())
    assert bool(torch.isfinite(o[:, :, 1]).all())


def test_large_scores_do_not_overflow(target: str) -> None:
    # Scores in the thousands, where neighbouring fp32 numbers lie 5e-4 apart: one row's reference may be right by luck.
    for s_q in (1, 70):
        q, k, v = (torch.randn(1, s, 32, 64) * 30 for s in (s_q, 100, 100))
        truth = attend(q, k, v, Options(), torch.float64)
        check(cpu.forward(q, k, v), truth, attend(q, k, v, Options(), torch.float32))


def test_subnormal_half_inputs(target: str) -> None:
    q, k = torch.randn(1, 40, 1, 32).half(), torch.randn(1, 50, 1, 32).half()
    v = (torch.randn(1, 50, 1, 32) * 3e-7).half()
    truth = attend(q, k, v, Options(), torch.float64)
    o, _ = cpu.forward(q, k, v)
    assert float((o.double() - truth[0]).abs().max()) < 6e-8
    assert bool((o != 0).any())
