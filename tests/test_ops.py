"""torch.ops.fastattn.flash_attention and flash_attn_func on CPU tensors: semantics, errors, opcheck, torch.compile."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import fastattention_npu
from fastattention_npu import _native, limits, options, reference, torch_attention
from fastattention_npu.errors import ArgumentError, BackendUnavailableError, ConfigError

flash_attention = torch.ops.fastattn.flash_attention
DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def make_qkv(
    s_q: int = 70, s_kv: int = 90, h_q: int = 4, h_kv: int = 2, d: int = 32, dtype: torch.dtype = torch.float16
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    sizes = ((s_q, h_q), (s_kv, h_kv), (s_kv, h_kv))
    q, k, v = (torch.randn(2, s, h, d, generator=generator).to(dtype) for s, h in sizes)
    return q, k, v


def assert_matches_float64(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    out, lse = flash_attention(q, k, v, **options)
    ref_out, ref_lse = reference.attention_float64(q, k, v, **options)
    same_out, same_lse = reference.attention_same_precision(q, k, v, **options)
    assert reference.check(out, ref_out, same_out).reasons == ()
    assert reference.check(lse, ref_lse, same_lse).reasons == ()
    assert out.dtype == q.dtype
    assert lse.dtype == torch.float32
    return out, lse


def counts(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


# --- semantics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize(("s_q", "s_kv"), [(70, 90), (90, 70), (128, 128), (1, 500), (1, 1)], ids=str)
@pytest.mark.parametrize("native", [True, False], ids=["native", "torch"])
def test_matches_float64(
    monkeypatch: pytest.MonkeyPatch, s_q: int, s_kv: int, causal: bool, dtype: torch.dtype, native: bool
) -> None:
    monkeypatch.setattr(_native, "is_available", lambda: native)
    assert_matches_float64(*make_qkv(s_q, s_kv, dtype=dtype), causal=causal)


@pytest.mark.parametrize("d", [1, 3, 80, 256, 300])
@pytest.mark.parametrize(("h_q", "h_kv"), [(1, 1), (6, 2), (8, 1)], ids=str)
def test_any_head_dim_and_group(d: int, h_q: int, h_kv: int) -> None:
    assert_matches_float64(*make_qkv(h_q=h_q, h_kv=h_kv, d=d), causal=True)


def test_chunks_of_heads_and_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "is_available", lambda: False)  # the chunks are those of the PyTorch path
    q, k, v = make_qkv(dtype=torch.float32)
    expected = flash_attention(q, k, v, causal=True)
    for elems in (1, 500, 20000):
        monkeypatch.setattr(torch_attention, "SCORES_ELEMS", elems)
        torch.testing.assert_close(flash_attention(q, k, v, causal=True), expected)


@pytest.mark.parametrize("native", [True, False], ids=["native", "torch"])
def test_fully_masked_rows_are_zero_and_minus_inf(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr(_native, "is_available", lambda: native)
    out, lse = assert_matches_float64(*make_qkv(s_q=9, s_kv=4), causal=True)
    assert not out[:, :5].any()
    assert (lse[..., :5] == -torch.inf).all()


@pytest.mark.parametrize("native", [True, False], ids=["native", "torch"])
@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_seqused_k_cuts_the_keys_and_moves_the_diagonal(
    monkeypatch: pytest.MonkeyPatch, causal: bool, native: bool
) -> None:
    monkeypatch.setattr(_native, "is_available", lambda: native)
    q, k, v = make_qkv()
    k[0, 31:], v[0, 31:] = torch.nan, torch.inf  # what lies beyond has no influence
    out, lse = assert_matches_float64(q, k, v, causal=causal, seqused_k=counts(31, 90))
    cut_out, cut_lse = flash_attention(q[:1], k[:1, :31], v[:1, :31], causal=causal)
    torch.testing.assert_close(out[:1], cut_out)
    torch.testing.assert_close(lse[:1], cut_lse)
    out, lse = flash_attention(q, k, v, causal=causal, seqused_k=counts(0, 0))
    assert not out.any()
    assert (lse == -torch.inf).all()


@pytest.mark.parametrize(("layout", "spelling"), [("bnsd", "BNSD"), ("bnsd", "bhsd"), ("bsh", "BSH"), ("bshd", "bsnd")])
def test_layouts_agree(layout: str, spelling: str) -> None:
    q, k, v = make_qkv()
    expected, expected_lse = flash_attention(q, k, v, causal=True)
    change = {"bnsd": lambda x: x.transpose(1, 2), "bsh": lambda x: x.flatten(2), "bshd": lambda x: x}[layout]
    head_dim = 32 if layout == "bsh" else None
    out, lse = flash_attention(*map(change, (q, k, v)), causal=True, layout=spelling, head_dim=head_dim)
    assert torch.equal(out, change(expected))
    assert torch.equal(lse, expected_lse)
    assert out.is_contiguous()


def test_empty_tensors() -> None:
    for b, s_q, s_kv in ((0, 4, 4), (2, 0, 4), (2, 4, 0)):
        out, lse = flash_attention(torch.ones(b, s_q, 2, 8), torch.ones(b, s_kv, 1, 8), torch.ones(b, s_kv, 1, 8))
        assert out.shape == (b, s_q, 2, 8)
        assert not out.any()
        assert (lse == -torch.inf).all()


@pytest.mark.parametrize("native", [True, False], ids=["native", "torch"])
def test_special_values_land_where_float64_puts_them(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr(_native, "is_available", lambda: native)
    for name in range(3):
        tensors = make_qkv()
        tensors[name][1, 3, 1, 5] = torch.inf
        assert_matches_float64(*tensors, causal=True)


# --- FlashAttention-2's function -------------------------------------------------------------------------------------


def test_flash_attn_func() -> None:
    q, k, v = make_qkv()
    out, lse, none = fastattention_npu.flash_attn_func(q, k, v, 0.0, 0.3, True, return_attn_probs=True)
    expected_out, expected_lse = flash_attention(q, k, v, softmax_scale=0.3, causal=True)
    assert torch.equal(out, expected_out)
    assert torch.equal(lse, expected_lse)
    assert none is None
    assert torch.equal(fastattention_npu.flash_attn_func(q, k, v, deterministic=True), flash_attention(q, k, v)[0])


def test_flash_attn_func_lists_every_reason_its_own_and_the_operators() -> None:
    q, k, v = make_qkv()
    with pytest.raises(ArgumentError) as caught:
        fastattention_npu.flash_attn_func(q, k, v, dropout_p=0.1, window_size=(-7, 0), softcap=-30.0)
    assert [reason.name for reason in caught.value.reasons] == ["dropout_p", "softcap", "window_left"]
    assert "flash_attn_func cannot take these arguments (3 reasons)" in str(caught.value)


# --- errors ----------------------------------------------------------------------------------------------------------

Q, K, V = make_qkv()
BAD_CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any], list[str]]] = {
    "dtype": ((Q.double(), K, V), {}, ["q.dtype = torch.float64", "k.dtype = torch.float16", "v.dtype"]),
    "integers": ((Q.int(), K.int(), V.int()), {}, ["q.dtype = torch.int32: must be one of fp16, bf16, fp32"]),
    "rank": ((Q[0], K, V), {}, ["q.dim() = 3: must be 4 for layout bshd"]),
    "rank of bsh": ((Q, K, V), {"layout": "bsh", "head_dim": 32}, ["q.dim() = 4: must be 3", "v.dim() = 4"]),
    "lengths": ((Q, K, V[:, 1:]), {}, ["v.shape = (2, 89, 2, 32): must be (2, 90, 2, 32)"]),
    "batch": ((Q[:1], K, V), {}, ["k.shape = (2, 90, 2, 32): must be (1, 90, 2, 32)", "v.shape"]),
    "head dim": ((Q[..., :16], K, V), {}, ["k.shape = (2, 90, 2, 32): must be (2, 90, 2, 16)"]),
    "heads": ((Q[:, :, :3], K, V), {}, ["h_q = 3: must be a multiple of h_kv = 2"]),
    "no heads": ((Q, K[:, :, :0], V[:, :, :0]), {}, ["h_kv = 0: must be at least 1"]),
    "no head dim": ((Q[..., :0], K[..., :0], V[..., :0]), {}, ["d = 0: must be at least 1"]),
    "layout": ((Q, K, V), {"layout": "bnds"}, ["layout = 'bnds': must be one of bshd, bsnd", "did you mean"]),
    "head_dim missing": ((Q[0], K[0], V[0]), {"layout": "bsh"}, ["head_dim = None: must be at least 1"]),
    "head_dim wrong": ((Q, K, V), {"head_dim": 16}, ["head_dim = 16: must be q.size(-1) = 32"]),
    "head_dim uneven": (
        (Q.flatten(2), K.flatten(2), V.flatten(2)),
        {"layout": "bsh", "head_dim": 48},
        ["q.size(-1) = 128: must be a multiple of head_dim = 48"],
    ),
    "scale": ((Q, K, V), {"softmax_scale": float("nan")}, ["softmax_scale = nan: must be a finite number"]),
    "seqused dtype": (
        (Q, K, V),
        {"seqused_k": torch.ones(2)},
        ["seqused_k.dtype = torch.float32: must be torch.int32"],
    ),
    "seqused shape": ((Q, K, V), {"seqused_k": counts(1)}, ["seqused_k.shape = (1,): must be (b,) = (2,)"]),
    "window": ((Q, K, V), {"window_left": -2}, ["window_left = -2: must be -1 to 2147483647 (-1 for all keys)"]),
    "softcap": ((Q, K, V), {"softcap": -1.0}, ["softcap = -1.0: must be finite and not negative"]),
    "slopes": ((Q, K, V), {"alibi_slopes": torch.ones(2)}, ["alibi_slopes.shape = (2,)", "(4,) or (2, 4)"]),
    "sinks": ((Q, K, V), {"sinks": torch.ones(4).half()}, ["sinks.dtype = torch.float16: must be torch.float32"]),
    "mask shape": ((Q, K, V), {"attn_mask": torch.ones(3, 3)}, ["attn_mask.shape = (3, 3)", "(2, 4, 70, 90)"]),
    "mask dtype": ((Q, K, V), {"attn_mask": torch.ones(70, 90).int()}, ["attn_mask.dtype = torch.int32"]),
    "mask of packed": (
        (Q[0], K[0], V[0]),
        {"layout": "tnd", "attn_mask": torch.ones(1), "cu_seqlens_q": counts(0, 70), "cu_seqlens_k": counts(0, 90)},
        ["attn_mask = a tensor of shape (1,): must be left out with layout tnd"],
    ),
    "no starts": ((Q[0], K[0], V[0]), {"layout": "tnd"}, ["cu_seqlens_q = None: must be given for layout tnd"]),
    "starts": (
        (Q, K, V),
        {"cu_seqlens_q": counts(0, 1, 2)},
        ["cu_seqlens_q = a tensor of shape (3,): must be left"],
    ),
    "max without tnd": ((Q, K, V), {"max_seqlen_q": 3}, ["max_seqlen_q = 3: must be left out with layout bshd"]),
    "page size": (
        (Q, K, V),
        {"block_table": torch.zeros(2, 3, dtype=torch.int32), "seqused_k": counts(1, 1)},
        ["page size = 90: must be at least 16 in multiples of 16"],
    ),
    "table without counts": (
        (Q, K[:, :16], V[:, :16]),
        {"block_table": torch.zeros(2, 3, dtype=torch.int32)},
        ["seqused_k = None: must be given with block_table"],
    ),
    "table and rows": (
        (Q, K[:, :16], V[:, :16]),
        {"block_table": torch.zeros(2, 3, dtype=torch.int32), "cache_batch_idx": counts(0, 1)},
        ["cache_batch_idx = a tensor of shape (2,): must be left out with block_table", "seqused_k = None"],
    ),
    "several": (
        (Q, K[0], V.float()),
        {"softmax_scale": float("inf"), "layout": "bshd", "softcap": -1.0},
        ["(4 reasons)", "k.dim() = 3", "v.dtype", "softmax_scale = inf", "softcap = -1.0"],
    ),
}


@pytest.mark.parametrize("case", BAD_CALLS, ids=str)
def test_errors_name_value_limit_and_remedy_on_the_real_and_the_fake_path(case: str) -> None:
    tensors, options, words = BAD_CALLS[case]
    with pytest.raises(ArgumentError) as real:
        flash_attention(*tensors, **options)
    assert all(word in str(real.value) for word in words), str(real.value)
    assert "\n\n" not in str(real.value)
    to_meta = {name: x.to("meta") if isinstance(x, Tensor) else x for name, x in options.items()}
    with pytest.raises(ArgumentError) as fake:
        flash_attention(*(x.to("meta") for x in tensors), **to_meta)
    assert str(fake.value) == str(real.value)


def test_mixed_devices_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"k\.device = meta: must be that of q, cpu"):
        flash_attention(Q, K.to("meta"), V)


def test_a_device_without_a_kernel_is_refused() -> None:
    with torch._subclasses.FakeTensorMode():
        q = torch.empty(1, 8, 2, 16, dtype=torch.float16, device="xpu")
        with pytest.raises(ArgumentError, match=r"q\.device = xpu:0: must be on one of: cpu, cuda"):
            flash_attention(q, q, q)


def test_seqused_k_outside_the_keys_is_refused() -> None:
    for bad in (-1, 91):
        with pytest.raises(ArgumentError, match=f"seqused_k value = {bad}: must be 0 to s_kv = 90"):
            flash_attention(Q, K, V, seqused_k=counts(3, bad))


def test_backward_is_a_clear_error() -> None:
    q = Q.clone().requires_grad_()
    out, _ = flash_attention(q, K, V)
    with pytest.raises(NotImplementedError, match="backward of fastattn::flash_attention is not implemented"):
        out.sum().backward()


# --- opcheck and torch.compile ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"causal": True}, {"seqused_k": counts(5, 0), "softmax_scale": 0.5}, {"layout": "bsh", "head_dim": 32}],
    ids=str,
)
def test_opcheck(options: dict[str, Any]) -> None:
    tensors = [x.flatten(2) for x in (Q, K, V)] if options.get("layout") == "bsh" else [Q, K, V]
    torch.library.opcheck(flash_attention.default, tensors, options)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("layout", ["bshd", "bnsd"])
def test_compiles_without_a_graph_break(layout: str, dynamic: bool) -> None:
    def block(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, lse = flash_attention(q * 2, k, v, causal=True, layout=layout)
        return out + lse.nan_to_num(neginf=0).mean().to(out.dtype)

    compiled = torch.compile(block, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for s in (16, 24):
        q, k, v = (x.transpose(1, 2) if layout == "bnsd" else x for x in make_qkv(s, s + 5))
        torch.testing.assert_close(compiled(q, k, v), block(q, k, v))


def test_compile_reports_our_error() -> None:
    with pytest.raises(Exception, match="h_q = 3: must be a multiple of h_kv = 2"):
        torch.compile(flash_attention, fullgraph=True, backend="aot_eager")(Q[:, :, :3], K, V)


# --- the backend switch and the import -------------------------------------------------------------------------------


def test_the_backend_belongs_to_its_thread_and_its_block() -> None:
    seen = []
    with fastattention_npu.backend("sim", soc="ascend910b1", threads=1):
        assert fastattention_npu.current_backend().name == "sim"
        thread = threading.Thread(target=lambda: seen.append(fastattention_npu.current_backend().name))
        thread.start()
        thread.join()
        with fastattention_npu.backend("cpu"):
            assert fastattention_npu.current_backend().name == "cpu"
        assert fastattention_npu.current_backend().name == "sim"
    assert seen == ["cpu"]
    assert fastattention_npu.current_backend().name == "cpu"


def test_backends_that_cannot_run_say_so() -> None:
    with pytest.raises(ArgumentError, match="did you mean cuda"), fastattention_npu.backend("cudaa"):
        pass
    with pytest.raises(BackendUnavailableError, match=r"backend cuda: .*use backend"):
        fastattention_npu.backend("cuda").__enter__()
    q = torch.ones(1, 4, 1, 16, dtype=torch.float16)
    with fastattention_npu.backend("npu"), pytest.raises(ArgumentError, match=r"npu inside backend\('npu'\)"):
        fastattention_npu.flash_attn_func(q, q, q)
    with pytest.raises(ConfigError, match="unknown SoC"):
        fastattention_npu.backend("sim", soc="ascend").__enter__()


def test_import_is_fast_and_needs_no_native_module() -> None:
    code = (
        "import sys, time, torch\n"
        "sys.modules['fastattention_npu._core'] = None\n"
        "start = time.process_time()\n"
        "import fastattention_npu as f\n"
        "print(time.process_time() - start)\n"
        "q = torch.ones(1, 3, 1, 4)\n"
        "f.flash_attn_func(q, q, q)\n"
        "try:\n"
        "    f.sim.flash_attention(q.half(), q.half(), q.half())\n"
        "except f.BackendUnavailableError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, message = done.stdout.splitlines()
    assert float(seconds) < 0.5
    assert "fastattention_npu._core (tiler and simulator) cannot be loaded" in message


# --- the table of limits ---------------------------------------------------------------------------------------------


def test_the_documentation_shows_the_table() -> None:
    text = (Path(__file__).parents[1] / "docs" / "flash_attention.md").read_text(encoding="utf-8")
    assert limits.markdown_table() in text


def test_the_schema_has_every_option() -> None:
    assert [x.name for x in flash_attention.default._schema.arguments] == ["q", "k", "v", *options.NAMES]


def test_every_missing_feature_is_a_known_one_and_says_what_to_do() -> None:
    names = {feature.name for feature in limits.FEATURES}
    for row in limits.TABLE.values():
        assert set(row.missing) <= names
        assert all(x.why and x.remedy for x in row.missing.values())
