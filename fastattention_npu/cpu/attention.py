"""forward and decode on CPU tensors: checks, then addresses and strides to the native kernel. Never copies K or V."""

from __future__ import annotations

import torch

from fastattention_npu._native import core

from .call import Call


def forward(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_left: int = -1,
    window_right: int = -1,
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    sinks: torch.Tensor | None = None,
    attn_mask: torch.Tensor | None = None,
    seqused_k: torch.Tensor | None = None,
    cu_seqlens_q: torch.Tensor | None = None,
    cu_seqlens_k: torch.Tensor | None = None,
    block_table: torch.Tensor | None = None,
    layout: str = "BSND",
    out: torch.Tensor | None = None,
    return_lse: bool = True,
    threads: int | None = None,
    splits: int = 0,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """O = softmax(scale * Q K^T + bias, masked) V, with float32 accumulation, on CPU tensors.

    Args:
        q, k, v: float32, float16 or bfloat16, any strides. BSND (b, s, h, d), BNSD (b, h, s, d), or TND (tokens, h, d)
            with cu_seqlens_q and cu_seqlens_k. h_q a multiple of h_kv; d_qk and d_v 1..256 and may differ. With
            block_table k and v are caches (pages, page_size, h_kv, d), for BNSD (pages, h_kv, page_size, d).
        softmax_scale: default 1 / sqrt(d_qk).
        causal, window_left, window_right: visible keys, counted from the bottom-right diagonal; -1 is unlimited;
            causal is window_right = 0.
        softcap: scores become softcap * tanh(score / softcap); 0 is none.
        alibi_slopes: float32 (h_q) or (b, h_q); bias -slope * |distance to the diagonal|.
        sinks: float32 (h_q): one more logit a head, with value zero; part of lse.
        attn_mask: bool (True: visible) or additive, broadcastable to (b, h_q, s_q, s_kv). Added after softcap.
        seqused_k: int32 (b): keys in use; what lies beyond is not read.
        cu_seqlens_q, cu_seqlens_k: int32 (b + 1), with TND. cu_seqlens_k is left out with a block_table.
        block_table: int32 (b, pages a sequence); page_size a multiple of 16; needs seqused_k.
        out: where O goes, shaped like the result, any strides; must not overlap q, k or v.
        return_lse: whether lse is computed.
        threads: default torch.get_num_threads(). Equal calls with equal threads give equal bits.
        splits: parts of the key range; 0 chooses.
    Returns: O in q's layout and dtype, and lse (natural log, float32: (b, h_q, s_q), or (h_q, tokens) for TND; None
        unless return_lse). A row that sees no key: O = 0, lse = -inf (with a sink: lse = the sink).
    Raises: ValueError with every reason at once.
    Limits: forward only; CPU tensors. A hidden key's NaN or infinity does not reach O.
    Source: FlashAttention-2, arXiv 2307.08691.
    """
    call = Call(
        q, k, v, softmax_scale, causal, window_left, window_right, softcap, alibi_slopes, sinks, attn_mask, seqused_k,
        cu_seqlens_q, cu_seqlens_k, block_table, layout, out, threads, splits,
    )  # fmt: skip
    call.check("fastattention_npu.cpu.forward")
    return _run(call, return_lse)


def decode(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    cache_seqlens: torch.Tensor,
    *,
    softmax_scale: float | None = None,
    window_left: int = -1,
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    sinks: torch.Tensor | None = None,
    block_table: torch.Tensor | None = None,
    layout: str = "BSND",
    out: torch.Tensor | None = None,
    return_lse: bool = False,
    threads: int | None = None,
    splits: int = 0,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """O = softmax(scale * Q K^T) V of the newest tokens against a cache, causal, one pass over K and V per GQA group.

    Args:
        q: (b, s_q, h_q, d) or, for BNSD, (b, h_q, s_q, d): the newest s_q tokens, whose k and v are in the cache.
        k_cache, v_cache: (b, capacity, h_kv, d) (BNSD: (b, h_kv, capacity, d)), or pages with block_table.
        cache_seqlens: int32 (b), tokens in the cache, the new ones included; the rest of the cache is not read.
        softmax_scale, window_left, softcap, alibi_slopes, sinks, block_table, out, threads, splits: as for forward.
        return_lse: whether lse is computed.
    Returns: O, and lse or None, as for forward.
    Raises: ValueError with every reason at once.
    Limits: as for forward. Fastest with h_q / h_kv * s_q <= 8 and a head's tokens contiguous (BNSD).
    Source: FlashAttention-2's split over keys ("flash decoding"); FastAttention, arXiv 2410.16663, section 4.4.
    """
    call = Call(
        q, k_cache, v_cache, softmax_scale, True, window_left, -1, softcap, alibi_slopes, sinks, None, cache_seqlens,
        None, None, block_table, layout, out, threads, splits,
    )  # fmt: skip
    call.check("fastattention_npu.cpu.decode")
    return _run(call, return_lse)


class PreparedDecode:
    """decode over tensors that stay where they are: checked once, then each call is the kernel's alone.

    Args: as for decode; `out` is where O goes. The values of cache_seqlens are read in every call.
    Raises: as decode; a call raises ValueError if cache_seqlens went out of range.
    """

    def __init__(
        self,
        q: torch.Tensor,
        k_cache: torch.Tensor,
        v_cache: torch.Tensor,
        cache_seqlens: torch.Tensor,
        out: torch.Tensor,
        *,
        layout: str = "BSND",
        threads: int | None = None,
    ) -> None:
        self.call = Call(
            q, k_cache, v_cache, causal=True, seqused_k=cache_seqlens, layout=layout, out=out, threads=threads
        )
        self.call.check("fastattention_npu.cpu.PreparedDecode")
        self.params = self.call.params(out, None)

    def __call__(self) -> None:
        core().cpu_attend(self.params)


def _run(call: Call, return_lse: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    out = call.out
    if out is None:
        out = torch.empty((*call.q.shape[:-1], call.v.shape[-1]), dtype=call.q.dtype)
    lse = None
    if return_lse:
        shape = (call.h_q, call.s_q) if call.packed else (call.batch, call.h_q, call.s_q)
        lse = torch.empty(shape, dtype=torch.float32)
    core().cpu_attend(call.params(out, lse))
    return out, lse
