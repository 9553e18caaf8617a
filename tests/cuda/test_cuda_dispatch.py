"""The dispatch rule, the refusals, and the entry points against PyTorch's flash attention on a newer card."""

from __future__ import annotations

import pytest
import torch
from cuda_reference import Case, attention, check

import fastattention_npu.cuda as fa
from fastattention_npu.cuda import dispatch, prefill

PLAIN = dispatch.Problem()


@pytest.fixture(autouse=True)
def _no_forced_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(dispatch.ENV_BACKEND, raising=False)


@pytest.mark.parametrize(
    ("capability", "problem", "backend"),
    [
        ((7, 0), PLAIN, "sm70"),
        ((7, 2), PLAIN, "sm70"),
        ((7, 5), PLAIN, "sm75"),
        ((8, 0), PLAIN, "torch"),
        ((9, 0), dispatch.Problem(varlen=True), "torch"),
        ((8, 6), dispatch.Problem(softcap=True), "sm75"),
        ((9, 0), dispatch.Problem(alibi=True), "sm75"),
        ((12, 0), dispatch.Problem(cached=True), "sm75"),
    ],
)
def test_rule(capability: tuple[int, int], problem: dispatch.Problem, backend: str) -> None:
    assert dispatch.choose(capability, problem).backend == backend


def test_forcing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dispatch.choose((9, 0), PLAIN, "sm70") == dispatch.Choice("sm70", "forced")
    monkeypatch.setenv(dispatch.ENV_BACKEND, "sm75")
    assert dispatch.choose((9, 0), PLAIN).arch == 75
    with pytest.raises(ValueError, match="use 'sm70'"):
        dispatch.choose((7, 0), PLAIN)
    with pytest.raises(ValueError, match=r"starts at sm_80.*use 'auto'"):
        dispatch.choose((7, 5), PLAIN, "torch")
    with pytest.raises(ValueError, match="softcap"):
        dispatch.choose((9, 0), dispatch.Problem(softcap=True), "torch")
    with pytest.raises(ValueError, match="one of auto"):
        dispatch.choose((9, 0), PLAIN, "fast")
    with pytest.raises(ValueError, match=r"7\.0 is the oldest"):
        dispatch.choose((6, 1), PLAIN)


def test_refusal_lists_every_reason() -> None:
    q = torch.zeros(1, 4, 3, 300, dtype=torch.bfloat16)
    k = torch.zeros(1, 4, 2, 300)
    reasons = "; ".join(map(str, prefill.reasons_against(q, k, k, prefill.ForwardArguments())))
    group = "h_q = 3: must be a multiple of h_kv = 2"
    for part in ("q.dtype = torch.bfloat16", ".half()", "q.device = cpu", "q.size(-1) = 300", group):
        assert part in reasons


def test_describe_names_card_compiler_and_cache() -> None:
    report = fa.describe()
    assert {"torch", "card", "compiler for sm_70", "compiler for sm_75", "kernel cache", "limits"} <= set(report)


@pytest.mark.parametrize("backend", ["torch", "sm75", "sm70"])
@pytest.mark.parametrize("layout", ["bshd", "bnsd", "bsh"])
@pytest.mark.parametrize(
    "case",
    [
        Case(s_q=100, s_kv=150, causal=True, h_kv=2),
        Case(s_q=150, s_kv=100, causal=True, d=40),
        Case(s_q=100, s_kv=150, window=(20, 3)),
    ],
    ids=lambda case: case.id,
)
def test_entry_point(case: Case, layout: str, backend: str, device: torch.device) -> None:
    if backend == "torch" and torch.cuda.get_device_capability(device) < (8, 0):
        pytest.skip("PyTorch's flash attention starts at sm_80")
    q = torch.randn(case.b, case.s_q, case.h_q, case.d, device=device).half()
    k, v = (torch.randn(case.b, case.s_kv, case.h_kv, case.d, device=device).half() for _ in range(2))
    change = {"bshd": lambda x: x, "bnsd": lambda x: x.transpose(1, 2).contiguous(), "bsh": lambda x: x.flatten(2)}
    out, lse = fa.forward(
        *(change[layout](x) for x in (q, k, v)), causal=case.causal, window_size=case.window, layout=layout,
        head_dim=case.d, backend=backend,
    )  # fmt: skip
    back = {"bshd": lambda x: x, "bnsd": lambda x: x.transpose(1, 2), "bsh": lambda x: x.unflatten(2, (case.h_q, -1))}
    for i in range(case.b):
        exact, exact_lse = attention(q[i], k[i], v[i], case, torch.float64)
        same, same_lse = attention(q[i], k[i], v[i], case, torch.float16)
        for actual, *references in ((back[layout](out)[i], exact, same), (lse[i], exact_lse, same_lse)):
            error, tolerance = check(actual, *references)
            assert error <= tolerance


def test_varlen_entry_point_agrees_between_backends(device: torch.device) -> None:
    if torch.cuda.get_device_capability(device) < (8, 0):
        pytest.skip("PyTorch's flash attention starts at sm_80")
    q, k, v = (torch.randn(300, 4, 64, device=device).half() for _ in range(3))
    cu = torch.tensor([0, 100, 100, 300], dtype=torch.int32, device=device)
    results = [
        fa.forward(q, k, v, causal=True, cu_seqlens_q=cu, cu_seqlens_k=cu, max_seqlen_q=200, max_seqlen_k=200,
                   layout="tnd", backend=backend)
        for backend in ("torch", "sm75")
    ]  # fmt: skip
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("page", [0, 64])
def test_long_query_against_a_cache(page: int, device: torch.device) -> None:
    case = Case(s_q=40, s_kv=256, causal=True)
    q = torch.randn(2, 40, 4, 64, device=device).half()
    k, v = (torch.randn(2, 256, 4, 64, device=device).half() for _ in range(2))
    used = torch.tensor([256, 100], dtype=torch.int32, device=device)
    table = torch.arange(8, dtype=torch.int32, device=device).view(2, 4) if page else None
    keys, values = (x.view(8, 64, 4, 64) if page else x for x in (k, v))
    out, _ = fa.decode(q, keys, values, cache_seqlens=used, block_table=table, causal=True, backend="sm75")
    for i, n in enumerate((256, 100)):
        exact, _ = attention(q[i], k[i, :n], v[i, :n], case, torch.float64)
        same, _ = attention(q[i], k[i, :n], v[i, :n], case, torch.float16)
        error, tolerance = check(out[i], exact, same)
        assert error <= tolerance
