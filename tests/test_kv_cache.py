"""FlashAttention-2's functions over packed tensors and caches: the same answers as the operator, and its refusals."""

from typing import Any

import pytest
import torch
from torch import Tensor

import fastattention_npu as flash_attn
from fastattention_npu import reference
from fastattention_npu.errors import ArgumentError

GENERATOR = torch.Generator().manual_seed(4)


def normal(*size: int) -> Tensor:
    return torch.randn(size, generator=GENERATOR).half()


def int32(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


def assert_right(got: tuple[Tensor, Tensor], q: Tensor, k: Tensor, v: Tensor, **options: Any) -> None:
    exact = reference.attention_float64(q, k, v, **options)
    same = reference.attention_same_precision(q, k, v, **options)
    for result, *references in zip(got, exact, same, strict=True):
        assert reference.check(result, *references).reasons == ()


# --- packed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["cpu", "sim"])
def test_packed_forms_agree_with_the_operator(backend: str) -> None:
    qkv, starts = normal(2, 40, 3, 4, 32), int32(0, 33, 33, 80)
    total = qkv.flatten(0, 1)
    scores = {
        "causal": True,
        "window_size": (20, 0),
        "softcap": 4.0,
        "alibi_slopes": torch.rand(4, generator=GENERATOR),
    }
    q, k, v = qkv.unbind(2)
    options = {"causal": True, "window_left": 20, "softcap": 4.0, "alibi_slopes": scores["alibi_slopes"]}
    packed = {"cu_seqlens_q": starts, "cu_seqlens_k": starts, "layout": "tnd"}
    with flash_attn.backend(backend):
        for out, lse, none in (
            flash_attn.flash_attn_qkvpacked_func(qkv, **scores, return_attn_probs=True),
            flash_attn.flash_attn_kvpacked_func(q, qkv[:, :, 1:], **scores, return_attn_probs=True),
            flash_attn.flash_attn_func(q, k, v, **scores, return_attn_probs=True),
        ):
            assert none is None
            assert_right((out, lse), q, k, v, **options)
        for out, lse, _ in (
            flash_attn.flash_attn_varlen_qkvpacked_func(total, starts, 47, **scores, return_attn_probs=True),
            flash_attn.flash_attn_varlen_kvpacked_func(
                total[:, 0], total[:, 1:], starts, starts, 47, 47, **scores, return_attn_probs=True
            ),
            flash_attn.flash_attn_varlen_func(
                *total.unbind(1), starts, starts, 47, 47, **scores, return_attn_probs=True
            ),
        ):
            assert_right((out, lse), *total.unbind(1), **options, **packed)


def test_varlen_over_pages() -> None:
    q, pages = normal(9, 4, 32), normal(2, 5, 16, 2, 32)
    table, starts_k = int32(3, 1, 0, 4).view(2, 2), int32(0, 20, 45)
    out, lse, _ = flash_attn.flash_attn_varlen_func(
        q, *pages, int32(0, 2, 9), starts_k, 7, 25, causal=True, return_attn_probs=True, block_table=table
    )
    options = {"cu_seqlens_q": int32(0, 2, 9), "seqused_k": int32(20, 25), "block_table": table, "layout": "tnd"}
    assert_right((out, lse), q, *pages, causal=True, **options)


def test_a_tensor_that_is_not_packed_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"qkv.shape = \(2, 40, 4, 32\): must be \(b, s, 3, h, d\)"):
        flash_attn.flash_attn_qkvpacked_func(normal(2, 40, 4, 32))


# --- caches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["cpu", "sim"])
@pytest.mark.parametrize("lengths", [int32(30, 11), 17], ids=["tensor", "int"])
def test_append_and_attend(backend: str, lengths: Any) -> None:
    q, caches, new = normal(2, 3, 4, 32), normal(2, 2, 50, 2, 32), normal(2, 2, 3, 2, 32)
    before = caches.clone()
    with flash_attn.backend(backend):
        out, lse = flash_attn.flash_attn_with_kvcache(
            q, *caches, *new, cache_seqlens=lengths, causal=True, return_softmax_lse=True
        )
    used = lengths if isinstance(lengths, Tensor) else int32(lengths, lengths)
    for i, n in enumerate(used.tolist()):
        before[:, i, n : n + 3] = new[:, i]
    assert torch.equal(caches, before)
    assert_right((out, lse), q, *before, causal=True, seqused_k=used + 3)


def test_append_and_attend_over_pages_and_chosen_rows() -> None:
    q, new, used = normal(2, 1, 4, 32), normal(2, 2, 1, 2, 32), int32(16, 31)
    pages, table = normal(2, 6, 16, 2, 32), int32(3, 1, 0, 5).view(2, 2)
    before = pages.clone()
    out, lse = flash_attn.flash_attn_with_kvcache(
        q, *pages, *new, cache_seqlens=used, block_table=table, num_splits=2, return_softmax_lse=True
    )
    before[:, 1, 0], before[:, 5, 15] = new[:, 0, 0], new[:, 1, 0]
    assert torch.equal(pages, before)
    assert_right((out, lse), q, *pages, seqused_k=used + 1, block_table=table)
    rows, index = normal(2, 5, 40, 2, 32), int32(4, 1)
    before = rows.clone()
    out, lse = flash_attn.flash_attn_with_kvcache(
        q, *rows, *new, cache_seqlens=used, cache_batch_idx=index, window_size=(9, -1), return_softmax_lse=True
    )
    before[:, 4, 16], before[:, 1, 31] = new[:, 0, 0], new[:, 1, 0]
    assert torch.equal(rows, before)
    assert_right((out, lse), q, *rows, seqused_k=used + 1, cache_batch_idx=index, window_left=9)


def test_the_whole_cache_without_lengths() -> None:
    q, caches = normal(2, 2, 4, 32), normal(2, 2, 50, 2, 32)
    out = flash_attn.flash_attn_with_kvcache(q, *caches)
    assert torch.equal(out, flash_attn.flash_attn_func(q, *caches))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rotary_cos": torch.ones(1), "rotary_sin": torch.ones(1)}, ["rotary_cos", "rotary_sin", "rotate q and k"]),
        ({"cache_leftpad": int32(0, 0), "softcap": -1.0}, ["cache_leftpad", "softcap = -1.0", "2 reasons"]),
        ({"k": normal(2, 1, 2, 32)}, ["v = None: must be given", "cache_seqlens = None"]),
        (
            {"k": normal(2, 1, 2, 32), "v": normal(2, 1, 2, 32), "cache_seqlens": 50},
            ["cache_seqlens + new tokens = 51"],
        ),
        ({"k": normal(2, 1, 3, 32), "v": normal(2, 1, 2, 32), "cache_seqlens": 5}, ["v.shape", "k_cache.shape"]),
        ({"cache_seqlens": int32(51, 3)}, ["seqused_k value = 51: must be 0 to s_kv = 50"]),
    ],
    ids=["rotary", "left padding", "half an append", "no room", "heads", "too long"],
)
def test_refusals_leave_the_cache_alone(options: dict[str, Any], words: list[str]) -> None:
    caches = normal(2, 2, 50, 2, 32)
    before = caches.clone()
    with pytest.raises(ArgumentError) as caught:
        flash_attn.flash_attn_with_kvcache(normal(2, 1, 4, 32), *caches, **options)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert torch.equal(caches, before)


@pytest.mark.parametrize("paged", [False, True], ids=["rows", "pages"])
def test_append_opcheck_and_compile(paged: bool) -> None:
    caches, new, used = normal(2, 4, 16, 2, 32), normal(2, 2, 3, 2, 32), int32(12, 5)
    table = int32(3, 1, 0, 2).view(2, 2) if paged else None
    index = None if paged else int32(3, 0)
    torch.library.opcheck(
        torch.ops.fastattn.append_kv_cache_.default, (*caches.clone(), *new, used, index, table), {"layout": "bshd"}
    )

    def step(q: Tensor, k_cache: Tensor, v_cache: Tensor) -> Tensor:
        return flash_attn.flash_attn_with_kvcache(
            q, k_cache, v_cache, *new, cache_seqlens=used, cache_batch_idx=index, block_table=table, causal=True
        )

    q, mine, theirs = normal(2, 3, 4, 32), caches.clone(), caches.clone()
    out = torch.compile(step, fullgraph=True, backend="aot_eager")(q, *mine)
    assert torch.equal(out, step(q, *theirs))
    assert torch.equal(mine, theirs)
