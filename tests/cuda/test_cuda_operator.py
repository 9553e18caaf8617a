"""torch.ops.fastattn and FlashAttention-2's functions on CUDA tensors, with each implementation forced in turn, against
float64; and what they refuse. Which kernel computes what is tested beside this file."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import fastattention_npu as fa
from fastattention_npu import reference
from fastattention_npu.cuda import dispatch

BACKENDS = ("sm70", "sm75", "torch")
TORCH_LACKS = ("softcap", "alibi_slopes", "seqused_k", "block_table", "cache_batch_idx")


@pytest.fixture(params=BACKENDS)
def implementation(request: pytest.FixtureRequest, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> str:
    number = torch.cuda.get_device_capability(device)[0] * 10
    if request.param == "torch" and number < 80:
        pytest.skip("needs an NVIDIA GPU of sm_80 or newer: PyTorch's flash attention starts there")
    monkeypatch.setenv(dispatch.ENV_BACKEND, request.param)
    return str(request.param)


def draw(device: torch.device, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(*shape, generator=generator).half().to(device) for shape in shapes]


def assert_right(out: Tensor, lse: Tensor | None, q: Tensor, k: Tensor, v: Tensor, **options: Any) -> None:
    host = {name: x.cpu() if isinstance(x, Tensor) else x for name, x in options.items()}
    tensors = [x.cpu() for x in (q, k, v)]
    truth = reference.attention_float64(*tensors, **host)
    same = reference.attention_same_precision(*tensors, **host)
    for got, exact, usual in zip((out, lse), truth, same, strict=True):
        if got is not None:
            assert got.is_cuda
            assert reference.check(got.cpu(), exact, usual).reasons == ()


def ints(device: torch.device, *values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32, device=device)


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal": {"causal": True},
    "window": {"window_left": 40, "window_right": 9},
    "window-causal": {"window_left": 33, "causal": True},
    "softcap": {"softcap": 12.0, "causal": True},
    "alibi": {"alibi_slopes": torch.tensor([0.5, 0.25, 0.125, 0.06])},
    "seqused": {"seqused_k": torch.tensor([130, 7], dtype=torch.int32), "causal": True},
    "scale": {"softmax_scale": 0.31},
}


@pytest.mark.parametrize("layout", ["bshd", "bnsd", "bsh"])
@pytest.mark.parametrize("name", OPTIONS)
def test_operator(name: str, layout: str, implementation: str, device: torch.device) -> None:
    options = {key: x.to(device) if isinstance(x, Tensor) else x for key, x in OPTIONS[name].items()}
    if implementation == "torch" and set(options) & set(TORCH_LACKS):
        with pytest.raises(ValueError, match="use 'auto'"):
            torch.ops.fastattn.flash_attention(*draw(device, *[(2, 130, 4, 64)] * 3), **options)
        return
    q, k, v = draw(device, (2, 70, 4, 64), (2, 130, 2, 64), (2, 130, 2, 64))
    change = {"bnsd": lambda x: x.transpose(1, 2), "bsh": lambda x: x.flatten(2), "bshd": lambda x: x}[layout]
    options |= {"layout": layout, "head_dim": 64 if layout == "bsh" else None}
    tensors = [change(x) for x in (q, k, v)]
    out, lse = torch.ops.fastattn.flash_attention(*tensors, **options)
    assert_right(out, lse, *tensors, **options)
    assert out.is_contiguous()


def test_fully_masked_rows(implementation: str, device: torch.device) -> None:
    out, lse = torch.ops.fastattn.flash_attention(*draw(device, (1, 9, 2, 64), *[(1, 4, 2, 64)] * 2), causal=True)
    assert not out[:, :5].any()
    assert (lse[..., :5] == -torch.inf).all()


def test_varlen(implementation: str, device: torch.device) -> None:
    q, k, v = draw(device, (100, 4, 64), (190, 2, 64), (190, 2, 64))
    cu_q, cu_k = ints(device, 0, 1, 60, 60, 100), ints(device, 0, 20, 100, 150, 190)
    out, lse, _ = fa.flash_attn_varlen_func(q, k, v, cu_q, cu_k, 59, 80, causal=True, return_attn_probs=True)
    assert_right(out, lse, q, k, v, causal=True, layout="tnd", cu_seqlens_q=cu_q, cu_seqlens_k=cu_k)


def test_packed_forms(implementation: str, device: torch.device) -> None:
    qkv = draw(device, (2, 90, 3, 4, 64))[0]
    out = fa.flash_attn_qkvpacked_func(qkv, causal=True)
    assert_right(out, None, *qkv.unbind(2), causal=True)
    assert torch.equal(fa.flash_attn_kvpacked_func(qkv[:, :, 0], qkv[:, :, 1:], causal=True), out)


@pytest.mark.parametrize("cache", ["contiguous", "paged", "indexed"])
@pytest.mark.parametrize("s_q", [1, 3, 40])
def test_kvcache(cache: str, s_q: int, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new keys land in the cache, and the queries attend to old and new ones."""
    for forced in ("sm70", "sm75", "auto"):
        monkeypatch.setenv(dispatch.ENV_BACKEND, forced)
        q, new_k, new_v, k, v = draw(device, (2, s_q, 4, 64), *[(2, s_q, 2, 64)] * 2, *[(2, 160, 2, 64)] * 2)
        used = ints(device, 100, 33)
        where: dict[str, Tensor] = {}
        caches = [k.clone(), v.clone()]
        if cache == "paged":
            table = torch.randperm(10, generator=torch.Generator().manual_seed(2)).to(device).view(2, 5)
            caches = [torch.empty(10, 32, 2, 64, dtype=k.dtype, device=device) for _ in range(2)]
            for pages, x in zip(caches, (k, v), strict=True):
                pages[table.flatten()] = x.view(10, 32, 2, 64)
            where = {"block_table": table.int()}
        elif cache == "indexed":
            order = torch.tensor([2, 0], device=device)
            caches = [torch.zeros(3, 160, 2, 64, dtype=k.dtype, device=device).index_copy_(0, order, x) for x in (k, v)]
            where = {"cache_batch_idx": order.int()}
        out, lse = fa.flash_attn_with_kvcache(
            q, *caches, new_k, new_v, cache_seqlens=used, causal=True, return_softmax_lse=True, **where
        )  # fmt: skip
        for i, n in enumerate((100, 33)):
            k[i, n : n + s_q], v[i, n : n + s_q] = new_k[i], new_v[i]
        assert_right(out, lse, q, k, v, causal=True, seqused_k=used + s_q)


def test_compile(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dispatch.ENV_BACKEND, "sm75")
    q, k, v = draw(device, (2, 70, 4, 64), *[(2, 130, 2, 64)] * 2)

    def double(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return fa.flash_attn_func(q, k, v, causal=True, window_size=(50, 0)) * 2

    compiled = torch.compile(double, fullgraph=True)
    assert torch.equal(compiled(q, k, v), double(q, k, v))


def test_graph_capture(implementation: str, device: torch.device) -> None:
    """No host copy and no synchronisation: a call may be captured once its kernel has been loaded."""
    q, k, v = draw(device, (2, 70, 4, 64), *[(2, 130, 2, 64)] * 2)
    expected = fa.flash_attn_func(q, k, v, causal=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = fa.flash_attn_func(q, k, v, causal=True)
    out.zero_()
    graph.replay()
    assert torch.equal(out, expected)


def test_refusals_name_every_reason(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dispatch.ENV_BACKEND, "sm75")
    q, k, v = draw(device, (2, 70, 4, 64), *[(2, 130, 2, 64)] * 2)
    mask = torch.zeros(70, 130, dtype=torch.bool, device=device)
    with pytest.raises(fa.ArgumentError) as error:
        torch.ops.fastattn.flash_attention(q, k, v[..., :32], attn_mask=mask, sinks=torch.zeros(4, device=device))
    assert [reason.name for reason in error.value.reasons] == ["sinks", "attn_mask", "d_v"]
    with pytest.raises(ValueError, match="float16"):
        fa.flash_attn_func(q.bfloat16(), k.bfloat16(), v.bfloat16())
