"""FlashAttention-2's functions by name: the same arguments in the same order with the same defaults, dropout refused.

Source of the table: Dao-AILab/flash-attention, flash_attn/flash_attn_interface.py.
"""

import inspect
from typing import Any

import pytest
import torch

import fastattention_npu as flash_attn

SCORES: dict[str, Any] = {"dropout_p": 0.0, "softmax_scale": None, "causal": False, "window_size": (-1, -1)}
SCORES |= {"softcap": 0.0, "alibi_slopes": None, "deterministic": False, "return_attn_probs": False}
LENGTHS = "cu_seqlens_q cu_seqlens_k max_seqlen_q max_seqlen_k"
# name -> arguments without a default, and those behind the scores'
FUNCTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "flash_attn_func": ("q k v", {}),
    "flash_attn_kvpacked_func": ("q kv", {}),
    "flash_attn_qkvpacked_func": ("qkv", {}),
    "flash_attn_varlen_func": (f"q k v {LENGTHS}", {"block_table": None}),
    "flash_attn_varlen_kvpacked_func": (f"q kv {LENGTHS}", {}),
    "flash_attn_varlen_qkvpacked_func": ("qkv cu_seqlens max_seqlen", {}),
}
CACHE: dict[str, Any] = {"k": None, "v": None, "rotary_cos": None, "rotary_sin": None, "cache_seqlens": None}
CACHE |= {"cache_batch_idx": None, "cache_leftpad": None, "block_table": None, "softmax_scale": None, "causal": False}
CACHE |= {"window_size": (-1, -1), "softcap": 0.0, "rotary_interleaved": True, "alibi_slopes": None, "num_splits": 0}
CACHE |= {"return_softmax_lse": False}


def defaults_of(name: str) -> list[tuple[str, Any]]:
    rows = inspect.signature(getattr(flash_attn, name)).parameters.values()
    assert all(row.kind is row.POSITIONAL_OR_KEYWORD for row in rows)
    return [(row.name, row.default) for row in rows]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_names_order_and_defaults(name: str) -> None:
    needed, more = FUNCTIONS[name]
    expected = [(x, inspect.Parameter.empty) for x in needed.split()] + [*(SCORES | more).items()]
    assert defaults_of(name) == expected


def test_the_function_of_the_cache() -> None:
    needed = [(x, inspect.Parameter.empty) for x in ("q", "k_cache", "v_cache")]
    assert defaults_of("flash_attn_with_kvcache") == [*needed, *CACHE.items()]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_dropout_is_refused_by_name(name: str) -> None:
    b, s, h, d = 1, 8, 2, 16
    rows = (s,) if "varlen" in name else (b, s)
    tensors = {x: torch.zeros(*rows, h, d).half() for x in "qkv"}
    tensors |= {"kv": torch.zeros(*rows, 2, h, d).half(), "qkv": torch.zeros(*rows, 3, h, d).half()}
    starts = torch.tensor([0, s], dtype=torch.int32)
    tensors |= {"cu_seqlens": starts, "cu_seqlens_q": starts, "cu_seqlens_k": starts}
    values = tensors | dict.fromkeys(("max_seqlen", "max_seqlen_q", "max_seqlen_k"), s)
    given = {x: values[x] for x in FUNCTIONS[name][0].split()}
    assert getattr(flash_attn, name)(**given).shape == (*rows, h, d)
    with pytest.raises(
        flash_attn.ArgumentError, match=r"dropout_p = 0\.1: must be 0; dropout is not implemented"
    ) as caught:
        getattr(flash_attn, name)(**given, dropout_p=0.1)
    assert [reason.name for reason in caught.value.reasons] == ["dropout_p"]
