"""Every feature on every backend of the table of limits, alone and combined, through the operator, against float64.

A case is a shape file's content. What the table says is missing must be refused with its reason, on the fake path with
the same text; what it says is there must be right. CUDA needs a card; npu is the table's row only.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

import fastattention_npu
from fastattention_npu import limits, reference
from fastattention_npu.errors import ArgumentError
from fastattention_npu.inputs import make_inputs
from fastattention_npu.options import Options
from fastattention_npu.shape_config import shape_from_dict

flash_attention = torch.ops.fastattn.flash_attention
BASE = {"b": 2, "s_q": 40, "s_kv": 70, "h_q": 4, "h_kv": 2, "d": 32}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal": {"causal": True},
    "more queries than keys": {"causal": True, "s_q": 90, "s_kv": 50},
    "square": {"causal": True, "s_q": 64, "s_kv": 64},
    "one query": {"s_q": 1, "causal": True},
    "window": {"window": [9, 5]},
    "left window": {"window": [9, -1]},
    "right window": {"window": [-1, 5], "s_q": 90},
    "diagonal only": {"window": [0, 0]},
    "softcap": {"softcap": 3.0},
    "alibi": {"alibi": "head"},
    "alibi per batch entry": {"alibi": "batch", "causal": True},
    "sinks": {"sinks": True},
    "sinks of hidden rows": {"sinks": True, "causal": True, "s_q": 90},
    "mask": {"mask": "bool", "mask_dims": "bhqk"},
    "mask of the keys": {"mask": "bool", "mask_dims": "bk", "causal": True},
    "additive mask": {"mask": "additive", "mask_dims": "hqk"},
    "fp32 mask": {"mask": "fp32", "window": [30, 30]},
    "keys in use": {"seqused_k": [0, 50], "causal": True},
    "packed": {"layout": "tnd", "b": 4, "seqlens_q": [40, 0, 3, 7], "seqlens_k": [20, 9, 0, 70], "causal": True},
    "packed, keys in use": {"layout": "tnd", "seqlens_q": [40, 3], "seqlens_k": [20, 70], "seqused_k": [0, 33]},
    "packed single tokens": {"layout": "tnd", "s_q": 1, "s_kv": 1, "seqlens_q": [1, 1], "seqlens_k": [1, 1]},
    "d_v": {"d_v": 48},
    "odd d": {"d": 7, "d_v": 3},
    "bf16": {"dtype": "bf16", "causal": True},
    "heads of one": {"h_q": 6, "h_kv": 1},
    "bnsd": {"layout": "bnsd", "causal": True, "d_v": 16},
    "bsh": {"layout": "bsh", "d_v": 48},
    "pages": {"page_size": 16, "seqused_k": [70, 33], "causal": True},
    "pages, bnsd": {"page_size": 32, "layout": "bnsd", "window": [20, -1]},
    "pages of packed queries": {"page_size": 16, "layout": "tnd", "seqlens_q": [40, 2], "seqused_k": [70, 9]},
    "everything": {"causal": True, "window": [50, 0], "softcap": 5.0, "alibi": "batch", "sinks": True, "d_v": 24}
    | {"seqused_k": [61, 70], "mask": "additive", "layout": "bnsd", "dtype": "bf16"},
    "everything packed": {"causal": True, "window": [50, 0], "softcap": 5.0, "alibi": "batch", "sinks": True, "d_v": 24}
    | {"layout": "tnd", "seqlens_q": [40, 13], "seqlens_k": [20, 70]},
}  # fmt: skip
BACKENDS = ("cpu", "sim", "cuda")


def arguments_of(case: str) -> dict[str, Any]:
    return make_inputs(shape_from_dict(BASE | CASES[case], case))


def missing(arguments: dict[str, Any], backend: str) -> list[str]:
    """What the table says that the backend lacks for this call."""
    values = dict(arguments)
    q, k, v = (values.pop(name) for name in ("q", "k", "v"))
    options = Options(**values)
    return [
        x.name for x in limits.feature_reasons(options, fastattention_npu.arguments.sizes(q, k, v, options), backend)
    ]


def run(arguments: dict[str, Any], backend: str) -> tuple[Tensor, Tensor]:
    if backend == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("needs an NVIDIA GPU: torch sees none")
        moved = {name: x.cuda() if isinstance(x, Tensor) else x for name, x in arguments.items()}
        out, lse = flash_attention(**moved)
        return out.cpu(), lse.cpu()
    with fastattention_npu.backend(backend):
        return flash_attention(**arguments)


def assert_right(arguments: dict[str, Any], out: Tensor, lse: Tensor) -> None:
    exact = reference.attention_float64(**arguments)
    same = reference.attention_same_precision(**arguments)
    for name, got, *references in zip(("out", "lse"), (out, lse), exact, same, strict=True):
        assert reference.check(got, *references).reasons == (), name
    hidden = exact[1] == -torch.inf
    assert (lse[hidden] == -torch.inf).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_right_or_refused_as_the_table_says(case: str, backend: str) -> None:
    arguments = arguments_of(case)
    absent = missing(arguments, backend)
    if not absent:
        assert_right(arguments, *run(arguments, backend))
        return
    with pytest.raises(ArgumentError) as real:
        run(arguments, backend)
    assert set(absent) <= {reason.name for reason in real.value.reasons}
    if backend != "cuda":
        with fastattention_npu.backend(backend), pytest.raises(ArgumentError) as fake:
            flash_attention(**{name: x.to("meta") if isinstance(x, Tensor) else x for name, x in arguments.items()})
        assert str(fake.value) == str(real.value)


def test_the_cases_use_every_feature() -> None:
    used = set()
    for case in CASES:
        values = arguments_of(case)
        q, k, v = (values.pop(name) for name in ("q", "k", "v"))
        options = Options(**values)
        problem = fastattention_npu.arguments.sizes(q, k, v, options)
        used |= {feature.name for feature in limits.FEATURES if feature.used(options, problem)}
    others = {"cache_batch_idx", "num_splits"}  # tests/test_kv_cache.py
    assert used == {feature.name for feature in limits.FEATURES} - others


@pytest.mark.parametrize("case", ["sinks of hidden rows", "more queries than keys", "keys in use"])
@pytest.mark.parametrize("backend", ["cpu", "sim"])
def test_rows_that_see_no_key_are_exact(case: str, backend: str) -> None:
    arguments = arguments_of(case)
    out, lse = run(arguments, backend)
    unseen = reference.attention_float64(**{**arguments, "sinks": None})[1] == -torch.inf  # (b, h, s)
    assert unseen.any()
    assert not out.transpose(1, 2)[unseen].any()
    expected = torch.tensor(-torch.inf) if arguments.get("sinks") is None else arguments["sinks"][:, None]
    assert torch.equal(lse[unseen], expected.expand(lse.shape)[unseen])


@pytest.mark.parametrize("case", ["everything", "everything packed", "mask"])
def test_sim_has_the_same_bits_for_any_thread_count_and_every_run(case: str) -> None:
    arguments = arguments_of(case)
    results = [fastattention_npu.sim.flash_attention(**arguments, threads=threads) for threads in (1, 2, 2, 5)]
    for out, lse in results[1:]:
        assert torch.equal(out.view(torch.int16), results[0][0].view(torch.int16))
        assert torch.equal(lse.view(torch.int32), results[0][1].view(torch.int32))


@pytest.mark.parametrize("layout", ["bshd", "bnsd", "bsh", "tnd"])
@pytest.mark.parametrize("backend", ["cpu", "sim"])
def test_views_are_read_in_place(layout: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Q, K and V as views of one packed tensor: the addresses that the kernels get are the views' own."""
    b, s, h, d = 2, 20, 3, 16
    shape = {"bshd": (b, s, 3, h, d), "bnsd": (b, h, 3, s, d), "bsh": (b, s, 3, h * d), "tnd": (s, 3, h, d)}[layout]
    packed = torch.randn(shape).half()
    q, k, v = packed.unbind(1 if layout == "tnd" else 2)
    starts = torch.tensor([0, 8, s], dtype=torch.int32)
    lengths = {"cu_seqlens_q": starts, "cu_seqlens_k": starts} if layout == "tnd" else {}
    arguments = {"q": q, "k": k, "v": v, "layout": layout, "causal": True, **lengths}
    arguments |= {"head_dim": d} if layout == "bsh" else {}
    seen = []
    for name in ("contiguous", "clone"):
        genuine = getattr(Tensor, name)
        monkeypatch.setattr(
            Tensor, name, lambda x, *rest, _genuine=genuine, **kw: (seen.append(x.shape), _genuine(x, *rest, **kw))[1]
        )
    out, lse = run(arguments, backend)
    monkeypatch.undo()
    assert not any(len(size) >= 3 for size in seen)
    assert_right(arguments, out, lse)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("case", ["packed", "everything", "everything packed", "pages"])
def test_compiles_without_a_graph_break(case: str, dynamic: bool) -> None:
    arguments = arguments_of(case)
    compiled = torch.compile(lambda a: flash_attention(**a), fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for x, y in zip(compiled(arguments), flash_attention(**arguments), strict=True):
        assert torch.equal(x, y)


@pytest.mark.parametrize("case", ["packed", "everything", "pages", "bsh", "alibi"])
def test_opcheck(case: str) -> None:
    arguments = arguments_of(case)
    tensors = [arguments.pop(name) for name in ("q", "k", "v")]
    torch.library.opcheck(flash_attention.default, tensors, arguments)


@pytest.mark.parametrize("case", ["window", "sinks", "softcap", "alibi", "mask", "packed", "d_v"])
@pytest.mark.parametrize("backend", ["cpu", "sim"])
def test_canary_a_feature_that_is_left_out_is_caught(case: str, backend: str) -> None:
    arguments = arguments_of(case)
    neutral = {"window": {"window_left": -1, "window_right": -1}, "sinks": {"sinks": None}, "softcap": {"softcap": 0.0}}
    neutral |= {"alibi": {"alibi_slopes": None}, "mask": {"attn_mask": None}, "packed": {"causal": False}}
    neutral |= {"d_v": {"v": -arguments["v"]}}
    out, lse = run(arguments | neutral[case], backend)
    with pytest.raises(AssertionError):
        assert_right(arguments, out, lse)
