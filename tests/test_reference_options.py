"""The float64 reference with every option, beside one written here from other parts: PyTorch's own attention.

`expected` spells out one bias matrix a head, from the definition of each option, and hands it to
torch.nn.functional.scaled_dot_product_attention in float64; a sink is one more key with that score and no value.
Softcap, which that function lacks, is written by hand and handed over as the whole score. Problems are the fuzzer's:
random, seeded, over all features.
"""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fastattention_npu.fuzz.problems import legal_case
from fastattention_npu.inputs import make_inputs
from fastattention_npu.reference import attention_float64
from fastattention_npu.shape_config import shape_from_dict

PROBLEMS = 120
SEED = 31


def as_heads(x: Tensor, layout: str, heads: int) -> Tensor:
    """(b, h, s, d); one batch entry for tnd."""
    if layout == "bsh":
        return x.unflatten(2, (heads, -1)).permute(0, 2, 1, 3)
    if layout == "tnd":
        return x.permute(1, 0, 2)[None]
    return x if layout == "bnsd" else x.permute(0, 2, 1, 3)


def keys_of(arguments: dict[str, Any], x: Tensor, entry: int, heads: int) -> Tensor:
    """(h_kv, n, d): the keys or values that batch entry `entry` uses, token after token."""
    table, rows, starts = (arguments.get(name) for name in ("block_table", "cache_batch_idx", "cu_seqlens_k"))
    layout = arguments["layout"]
    if table is not None:
        pages = as_heads(x, "bshd" if layout == "tnd" else layout, heads)  # (pages, h, page_size, d)
        found = torch.cat([pages[int(page)] for page in table[entry]], 1)
    elif layout == "tnd":
        found = as_heads(x, layout, heads)[0][:, int(starts[entry]) : int(starts[entry + 1])]
    else:
        found = as_heads(x, layout, heads)[entry if rows is None else int(rows[entry])]
    used = arguments.get("seqused_k")
    return found if used is None else found[:, : int(used[entry])]


def bias_of(arguments: dict[str, Any], entry: int, head: int, s: int, n: int) -> Tensor:
    """(s, n): what is added to the scores; -inf where a row does not see a key."""
    left, right = arguments.get("window_left", -1), arguments.get("window_right", -1)
    right = 0 if arguments.get("causal") else right
    slopes, mask = arguments.get("alibi_slopes"), arguments.get("attn_mask")
    offsets = torch.arange(n) - torch.arange(s)[:, None] - (n - s)  # (s, n): 0 where the last query meets the last key
    bias = torch.zeros(s, n, dtype=torch.float64)
    if slopes is not None:
        bias -= float(slopes[entry][head] if slopes.dim() == 2 else slopes[head]) * offsets.abs().double()
    for side, steps in ((left, -offsets), (right, offsets)):
        if side >= 0:
            bias[steps > side] = -math.inf
    if mask is None:
        return bias
    sizes = (1,) * (4 - mask.dim()) + tuple(mask.shape)
    part = mask.reshape(sizes)[entry if sizes[0] > 1 else 0, head if sizes[1] > 1 else 0]  # (s or 1, keys or 1)
    part = part[:, :n].expand(s, n)
    return bias.masked_fill(~part, -math.inf) if part.dtype == torch.bool else bias + part.double()


def one_head(arguments: dict[str, Any], q: Tensor, k: Tensor, v: Tensor, bias: Tensor, sink: Any) -> tuple[Tensor, ...]:
    """O (s, d_v) and lse (s) of q (s, d), k (n, d), v (n, d_v)."""
    scale = arguments.get("softmax_scale")
    scale = 1 / math.sqrt(q.size(1)) if scale is None else scale
    softcap = arguments.get("softcap", 0.0)
    scores = torch.einsum("sd,nd->sn", q, k) * scale
    capped = softcap * torch.tanh(scores / softcap) if softcap > 0 else scores
    if sink is not None:
        column = torch.full((q.size(0), 1), float(sink), dtype=torch.float64)
        bias, capped = torch.cat([bias, column], 1), torch.cat([capped, torch.zeros_like(column)], 1)
        k, v = (torch.cat([x, torch.zeros(1, x.size(1), dtype=torch.float64)]) for x in (k, v))
    lse = torch.logsumexp(capped + bias, 1) if capped.size(1) else torch.full((q.size(0),), -math.inf).double()
    if softcap > 0:
        bias = bias + capped
        q, k = torch.zeros_like(q), torch.zeros_like(k)
    if capped.size(1) == 0:
        return torch.zeros(q.size(0), v.size(1), dtype=torch.float64), lse
    out = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=bias[None], scale=scale)[0]
    return torch.where((lse == -math.inf)[:, None], 0.0, out), lse


def expected(h_q: int, h_kv: int, arguments: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """O (h_q, tokens, d_v) and lse (h_q, tokens), the batch entries one after the other."""
    layout = arguments["layout"]
    queries = as_heads(arguments["q"].double(), layout, h_q)
    starts = arguments.get("cu_seqlens_q")
    entries = queries.size(0) if starts is None else starts.numel() - 1
    outs, lses = [], []
    for entry in range(entries):
        q = queries[entry] if starts is None else queries[0][:, int(starts[entry]) : int(starts[entry + 1])]
        k, v = (keys_of(arguments, arguments[name].double(), entry, h_kv) for name in "kv")
        sinks = arguments.get("sinks")
        heads = []
        for head in range(h_q):
            key_head = head * h_kv // h_q
            bias = bias_of(arguments, entry, head, q.size(1), k.size(1))
            sink = None if sinks is None else sinks[head]
            heads.append(one_head(arguments, q[head], k[key_head], v[key_head], bias, sink))
        outs.append(torch.stack([out for out, _ in heads]))
        lses.append(torch.stack([lse for _, lse in heads]))
    return torch.cat(outs, 1), torch.cat(lses, 1)


def references(h_q: int, arguments: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The package's reference, laid out as `expected` is."""
    out, lse = attention_float64(**arguments)
    heads = as_heads(out, arguments["layout"], h_q)  # (b, h, s, d)
    lse = lse if arguments["layout"] == "tnd" else lse.transpose(0, 1).flatten(1)
    return heads.transpose(0, 1).flatten(1, 2), lse


def assert_same(h_q: int, h_kv: int, arguments: dict[str, Any]) -> None:
    for got, want in zip(references(h_q, arguments), expected(h_q, h_kv, arguments), strict=True):
        torch.testing.assert_close(got, want, atol=1e-11, rtol=1e-11)


def small(shape: dict[str, Any]) -> dict[str, Any]:
    """The same features with so few keys that Python loops take no time."""
    shape = dict(shape)
    for key, most, lists in (("s_q", 13, ("seqlens_q",)), ("s_kv", 21, ("seqlens_k", "seqused_k"))):
        shape[key] = min(shape[key], most)
        shape |= {name: [min(n, most) for n in shape[name]] for name in lists if name in shape}
    if "seqused_k" in shape and "seqlens_k" in shape:
        shape["seqused_k"] = [min(pair) for pair in zip(shape["seqused_k"], shape["seqlens_k"], strict=True)]
    return shape


def problem(index: int) -> tuple[int, int, dict[str, Any]]:
    shape = shape_from_dict(small(legal_case(SEED, index)["shape"]), "a test")
    return shape.h_q, shape.h_kv, make_inputs(shape, index)


@pytest.mark.parametrize("first", range(0, PROBLEMS, 40))
def test_random_problems_over_all_options(first: int) -> None:
    for index in range(first, first + 40):
        assert_same(*problem(index))


def test_the_problems_use_every_option() -> None:
    used = set()
    for index in range(PROBLEMS):
        arguments = problem(index)[2]
        used |= {name for name, x in arguments.items() if isinstance(x, Tensor) or x not in (None, False, -1, 0.0)}
    others = {"cache_batch_idx", "num_splits"}  # below; the reference has no splits
    names = {"softmax_scale", "causal", "window_left", "window_right", "softcap", "alibi_slopes", "sinks", "attn_mask"}
    assert used >= names | {"seqused_k", "cu_seqlens_q", "cu_seqlens_k", "block_table", "layout", "head_dim"}
    assert not used & others


def everything(layout: str = "bshd") -> tuple[int, int, dict[str, Any]]:
    shape = {"b": 2, "s_q": 9, "s_kv": 14, "h_q": 4, "h_kv": 2, "d": 16, "d_v": 8, "layout": layout, "causal": True}
    shape |= {"window": [6, 3], "softcap": 2.0, "alibi": "batch", "sinks": True, "seqused_k": [11, 14]}
    shape |= {"mask": "additive", "mask_dims": "bhqk", "softmax_scale": 0.4}
    return 4, 2, make_inputs(shape_from_dict(shape, "a test"), 3)


@pytest.mark.parametrize("layout", ["bshd", "bnsd", "bsh"])
def test_everything_at_once(layout: str) -> None:
    assert_same(*everything(layout))


def test_cache_rows() -> None:
    h_q, h_kv, arguments = everything()
    arguments |= {"attn_mask": None, "cache_batch_idx": torch.tensor([1, 0], dtype=torch.int32)}
    assert_same(h_q, h_kv, arguments)


NEUTRAL: dict[str, Any] = {
    "causal": False,
    "window_left": -1,
    "softcap": 0.0,
    "alibi_slopes": None,
    "sinks": None,
    "attn_mask": None,
    "seqused_k": None,
    "softmax_scale": None,
}


@pytest.mark.parametrize("option", NEUTRAL)
def test_canary_an_option_that_one_side_lacks_is_noticed(option: str) -> None:
    h_q, h_kv, arguments = everything()
    got = references(h_q, arguments | {option: NEUTRAL[option]})
    want = expected(h_q, h_kv, arguments)
    assert not torch.allclose(got[0], want[0], atol=1e-6)
    assert not torch.allclose(got[1], want[1], atol=1e-6)
