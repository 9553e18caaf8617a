"""Features of the operator on the simulated NPU under the accuracy rule: twice PyTorch's own error, plus 1e-5.

Combinations are drawn at random, from a seed, over everything that the kernel does; test_kernel_features.py has the
corners by name.
"""

import os
import random
from typing import Any

import pytest
import torch
from torch import Tensor

from fastattention_npu import reference, sim

SLOW = bool(os.environ.get("FASTATTN_TEST_SLOW"))
COUNT = 400 if SLOW else 24


def draw_mask(choose: random.Random, generator: torch.Generator, sizes: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A mask of any type that broadcasts to (b, h, s_q, s_kv)."""
    shape = [n if choose.random() < 0.6 else 1 for n in sizes[choose.choice((0, 0, 2)) :]]
    shown = torch.rand(shape, generator=generator) < 0.7
    if choose.random() < 0.4:
        return shown
    values = torch.randn(shape, generator=generator).masked_fill(~shown, choose.choice((-torch.inf, -100.0)))
    return values.to(choose.choice((torch.float32, dtype)))


def draw(seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of the operator, and the tiling's fields."""
    choose, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    dtype = choose.choice((torch.float16, torch.bfloat16))
    b, h_kv, group = choose.choice((1, 2)), choose.choice((1, 2)), choose.choice((1, 2, 3, 8))
    s_q, s_kv = choose.choice((1, 5, 16, 70, 130)), choose.choice((1, 40, 300, 700))
    d, d_v = choose.choice((8, 40, 64, 128)), choose.choice((16, 64, 100))
    h_q = h_kv * group
    arguments: dict[str, Any] = {
        name: torch.randn(b, s, h, dim, generator=generator).to(dtype)
        for name, s, h, dim in (("q", s_q, h_q, d), ("k", s_kv, h_kv, d), ("v", s_kv, h_kv, d_v))
    }
    if choose.random() < 0.5:
        arguments |= {name: arguments[name].transpose(1, 2).contiguous() for name in "qkv"} | {"layout": "bnsd"}
    optional: dict[str, Any] = {
        "causal": True,
        "window_left": choose.choice((0, 20, 300)),
        "window_right": choose.choice((0, 7, 300)),
        "softcap": 5.0,
        "alibi_slopes": torch.rand(choose.choice(((h_q,), (b, h_q))), generator=generator) / 4,
        "sinks": torch.randn(h_q, generator=generator),
        "seqused_k": torch.tensor([choose.randint(0, s_kv) for _ in range(b)], dtype=torch.int32),
        "attn_mask": draw_mask(choose, generator, (b, h_q, s_q, s_kv), dtype),
    }
    arguments |= {name: value for name, value in optional.items() if choose.random() < 0.35}
    if arguments.get("causal"):
        arguments.pop("window_right", None)
    tiling = {"pack_gqa": choose.choice((0, 1)), "mask": choose.choice(("tiling", "predicate"))}
    return arguments, tiling


@pytest.mark.parametrize("seed", range(COUNT))
def test_drawn_combinations(seed: int, tmp_path: Any) -> None:
    arguments, fields = draw(seed)
    file = tmp_path / "tiling.yaml"
    file.write_text("".join(f"{name}: {value}\n" for name, value in fields.items()))
    out, lse, report = sim.flash_attention(**arguments, tiling=file, return_report=True)
    assert report.figures["hazards"] == 0, report.figures["hazard_texts"]
    ref_out, ref_lse = reference.attention_float64(**arguments)
    same_out, same_lse = reference.attention_same_precision(**arguments)
    assert reference.check(out, ref_out, same_out).reasons == ()
    assert reference.check(lse, ref_lse, same_lse).reasons == ()


def test_the_draw_reaches_every_feature() -> None:
    drawn = [draw(seed)[0] for seed in range(24)]
    names = ("causal", "window_left", "window_right", "softcap", "alibi_slopes", "sinks", "seqused_k", "attn_mask")
    assert all(sum(name in arguments for arguments in drawn) >= 3 for name in names)
    masks = [arguments["attn_mask"] for arguments in drawn if "attn_mask" in arguments]
    assert {mask.dtype for mask in masks} >= {torch.bool, torch.float32}


@pytest.mark.parametrize("d", range(1, 257) if SLOW else (1, 15, 16, 17, 47, 96, 129, 250, 256))
def test_every_head_dim(d: int) -> None:
    """Those of Q and K rise while V's falls, so that each is met in both places."""
    generator, dtype = torch.Generator().manual_seed(d), (torch.float16, torch.bfloat16)[d % 2]
    sizes = {"q": (1, 20, 2, d), "k": (1, 300, 1, d), "v": (1, 300, 1, 257 - d)}
    arguments: dict[str, Any] = {x: torch.randn(size, generator=generator).to(dtype) for x, size in sizes.items()}
    arguments["causal"] = True
    out, lse = sim.flash_attention(**arguments)
    exact, same = reference.attention_float64(**arguments), reference.attention_same_precision(**arguments)
    assert reference.check(out, exact[0], same[0]).reasons == ()
    assert reference.check(lse, exact[1], same[1]).reasons == ()
