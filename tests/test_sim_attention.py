"""The FlashAttention kernel on the simulated 910B against float64: the accuracy rule, special values, determinism.

The rule (reference.check): the error stays within twice that of PyTorch's own fp16 attention plus 1e-5, and inf and NaN
lie where float64 has them. Every launch starts from outputs poisoned with NaN, and no hazard is tolerated.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import fastattention_npu
from fastattention_npu import kernel_call, layouts, reference, sim
from fastattention_npu.config import TilingConfig
from fastattention_npu.errors import ArgumentError
from fastattention_npu.sim import launch
from fastattention_npu.yaml_file import config_names

LENGTHS = (1, 7, 64, 127, 128, 129, 500, 1000, 2048)
HEAD_DIMS = (16, 32, 64, 80, 96, 128)
GROUPS = (1, 2, 4, 8)  # query heads to a key head
LAYOUTS = ("bshd", "bnsd", "bsh")


@dataclass(frozen=True)
class Case:
    s_q: int
    s_kv: int
    causal: bool
    d: int
    group: int
    layout: str = "bshd"
    b: int = 1
    h_kv: int = 1

    def __str__(self) -> str:
        mask = "causal" if self.causal else "full"
        return f"{self.s_q}x{self.s_kv}-{mask}-d{self.d}-gqa{self.group}-{self.layout}-b{self.b}-hkv{self.h_kv}"


def production_cases() -> list[Case]:
    """Every pair of lengths, causal and not (so every s_q <, =, > s_kv), with head dims and groups taken in turn."""
    turn = itertools.cycle(itertools.product(GROUPS, HEAD_DIMS))
    cases = []
    for causal in (False, True):
        for i, (s_q, s_kv) in enumerate(itertools.product(LENGTHS, LENGTHS)):
            group, d = next(turn)
            small = s_q * s_kv <= 500 * 500
            cases.append(
                Case(s_q, s_kv, causal, d, group, LAYOUTS[i % 3], b=1 + small * (i % 2), h_kv=1 + small * (i % 3 == 1))
            )
    return cases


CASES = production_cases()


def make_qkv(case: Case, seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    sizes = {"q": (case.s_q, case.h_kv * case.group), "k": (case.s_kv, case.h_kv), "v": (case.s_kv, case.h_kv)}
    tensors: dict[str, Any] = {
        name: torch.randn(layouts.shape_of(case.layout, case.b, s, h, case.d), generator=generator).half()
        for name, (s, h) in sizes.items()
    }
    head_dim = case.d if case.layout == "bsh" else None
    return tensors | {"causal": case.causal, "layout": case.layout, "head_dim": head_dim}


def simulate(arguments: dict[str, Any], **options: Any) -> tuple[Tensor, Tensor, sim.SimReport]:
    return sim.flash_attention(**arguments, **options, return_report=True)


def assert_matches_float64(arguments: dict[str, Any], **options: Any) -> tuple[Tensor, Tensor]:
    out, lse, report = simulate(arguments, **options)
    ref_out, ref_lse = reference.attention_float64(**arguments)
    same_out, same_lse = reference.attention_same_precision(**arguments)
    assert reference.check(out, ref_out, same_out).reasons == ()
    assert reference.check(lse, ref_lse, same_lse).reasons == ()
    assert report.figures.get("hazards", 0) == 0, report.figures["hazard_texts"]
    return out, lse


def same_bits(x: Tensor, y: Tensor) -> bool:
    integer = {2: torch.int16, 4: torch.int32}[x.element_size()]
    return torch.equal(x.view(integer), y.view(integer))


# --- the shape list --------------------------------------------------------------------------------------------------


def test_the_list_covers_what_it_promises() -> None:
    assert len(set(map(str, CASES))) == len(CASES) >= 150
    assert {c.s_q for c in CASES} == {c.s_kv for c in CASES} == set(LENGTHS)
    assert {(c.d, c.group) for c in CASES} == set(itertools.product(HEAD_DIMS, GROUPS))
    for causal in (False, True):
        some = [c for c in CASES if c.causal == causal]
        assert {c.d for c in some} == set(HEAD_DIMS)
        assert {c.group for c in some} == set(GROUPS)
        assert {c.layout for c in some} == set(LAYOUTS)
        assert {(c.s_q > c.s_kv) - (c.s_q < c.s_kv) for c in some} == {-1, 0, 1}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_matches_float64(case: Case) -> None:
    assert_matches_float64(make_qkv(case))


@pytest.mark.parametrize("soc", [name for name in config_names("soc") if name.startswith("ascend")])
@pytest.mark.parametrize("tiling", [None, *config_names("tiling")])
def test_matches_float64_on_every_soc_and_with_every_tiling(soc: str, tiling: str | None) -> None:
    assert_matches_float64(make_qkv(Case(300, 700, True, 64, 2)), soc=soc, tiling=tiling)


@pytest.mark.parametrize("scale", [0.0, -0.5, 1.0, 1e-3])
def test_softmax_scale(scale: float) -> None:
    assert_matches_float64(make_qkv(Case(70, 300, True, 32, 2)) | {"softmax_scale": scale})


# --- S in 16 bits ----------------------------------------------------------------------------------------------------

EXCHANGES = [(torch.float16, "fp16"), (torch.bfloat16, "fp16"), (torch.bfloat16, "bf16")]


def exchange(name: str) -> TilingConfig:
    return TilingConfig({"s_exchange": name}, "test")


@pytest.mark.parametrize(("dtype", "name"), EXCHANGES, ids=str)
@pytest.mark.parametrize(
    "case", [Case(300, 700, True, 64, 2), Case(129, 513, False, 128, 1), Case(7, 33, True, 192, 4)], ids=str
)
def test_scores_in_16_bits_keep_the_accuracy_rule(case: Case, dtype: torch.dtype, name: str) -> None:
    arguments = {key: x.to(dtype) if isinstance(x, Tensor) else x for key, x in make_qkv(case).items()}
    assert_matches_float64(arguments, tiling=exchange(name))


def test_a_score_beyond_fp16_is_no_clipped_number() -> None:
    """q·k = 81920 before scaling: NaN says so where S crosses in fp16, and the other exchanges are right."""
    q = torch.full((1, 20, 1, 80), 32.0).bfloat16()
    k = torch.cat([q, torch.zeros_like(q)], dim=1)
    arguments = {"q": q, "k": k, "v": torch.randn(k.shape).bfloat16()}
    out, _, report = simulate(arguments, tiling=exchange("fp16"))
    assert out.isnan().all()
    assert report.figures["hazards"] == 0
    for name in ("fp32", "bf16"):
        assert_matches_float64(arguments, tiling=exchange(name))


def test_16_bits_are_never_chosen_and_bf16_is_for_bf16() -> None:
    arguments = make_qkv(Case(64, 300, False, 64, 1))
    assert simulate(arguments)[2].plan["tiling"]["s_exchange"] == "fp32"
    with pytest.raises(ArgumentError, match="s_exchange = bf16: must be fp32 or fp16"):
        simulate(arguments, tiling=exchange("bf16"))


# --- rows without keys, padding --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("s_q", "s_kv"), [(129, 1), (500, 128), (600, 599)])
def test_fully_masked_rows_are_zero_and_minus_inf(s_q: int, s_kv: int) -> None:
    out, lse = assert_matches_float64(make_qkv(Case(s_q, s_kv, True, 64, 2)))
    masked = s_q - s_kv
    assert not out[:, :masked].any()
    assert (lse[..., :masked] == -torch.inf).all()
    assert lse[..., masked:].isfinite().all()


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize(
    ("s_q", "s_kv", "counts"),
    [(64, 64, [64, 1, 33]), (7, 300, [0, 299, 128]), (130, 700, [700, 513, 0]), (1, 1000, [1000, 999, 1])],
    ids=str,
)
@pytest.mark.parametrize("padding", [60000.0, torch.nan, torch.inf], ids=str)
def test_keys_beyond_seqused_k_have_no_influence(
    s_q: int, s_kv: int, counts: list[int], causal: bool, padding: float
) -> None:
    arguments = make_qkv(Case(s_q, s_kv, causal, 32, 2, b=len(counts)))
    for i, n in enumerate(counts):
        arguments["k"][i, n:] = padding
        arguments["v"][i, n:] = padding
    arguments["seqused_k"] = torch.tensor(counts, dtype=torch.int32)
    out, lse = assert_matches_float64(arguments)
    for i, n in enumerate(counts):
        if n == 0:
            assert not out[i].any()
            assert (lse[i] == -torch.inf).all()


def test_canary_padding_that_is_let_in_is_caught() -> None:
    arguments = make_qkv(Case(64, 64, False, 32, 1))
    out, _ = sim.flash_attention(**arguments)
    arguments["seqused_k"] = torch.tensor([63], dtype=torch.int32)
    ref_out, same_out = (f(**arguments)[0] for f in (reference.attention_float64, reference.attention_same_precision))
    assert not reference.check(out, ref_out, same_out).ok


def test_nothing_to_attend_to_needs_no_launch() -> None:
    for s_q, s_kv in ((0, 5), (5, 0)):
        q, k = torch.ones(1, s_q, 1, 16).half(), torch.ones(1, s_kv, 1, 16).half()
        out, lse = sim.flash_attention(q, k, k)
        assert out.shape == q.shape
        assert not out.any()
        assert (lse == -torch.inf).all()


# --- inf and NaN -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan], ids=str)
@pytest.mark.parametrize("name", ["q", "k"])
@pytest.mark.parametrize(("s_q", "s_kv"), [(70, 300), (300, 700)], ids=str)
def test_special_values_of_q_and_k_land_where_float64_puts_them(
    name: str, value: float, causal: bool, s_q: int, s_kv: int
) -> None:
    arguments = make_qkv(Case(s_q, s_kv, causal, 64, 2, b=2, h_kv=2))
    arguments[name][1, arguments[name].size(1) // 2, 1, 5] = value
    out, _ = assert_matches_float64(arguments)
    assert out[0].isfinite().all()


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan], ids=str)
@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_special_values_of_v_land_where_float64_puts_them(value: float, causal: bool) -> None:
    arguments = make_qkv(Case(70, 300, causal, 64, 2, b=2, h_kv=2))
    arguments["v"][1, 3, 0, 7] = value  # every row sees key 3
    out, _ = assert_matches_float64(arguments)
    assert (~out.isfinite()).sum() == 70 * 2


# --- determinism -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [Case(500, 1000, True, 80, 4), Case(129, 500, False, 128, 2, b=2)], ids=str)
def test_same_bits_and_cycles_for_any_thread_count_and_every_run(case: Case) -> None:
    arguments = make_qkv(case)
    out, lse, report = simulate(arguments, threads=1)
    for threads in (1, 2, 2, 5):
        again_out, again_lse, again = simulate(arguments, threads=threads)
        assert same_bits(out, again_out)
        assert same_bits(lse, again_lse)
        assert dict(again.figures) == dict(report.figures)


def test_checks_change_no_bit() -> None:
    arguments = make_qkv(Case(129, 500, True, 64, 2))
    out, lse, _ = simulate(arguments, checks=True)
    other_out, other_lse, _ = simulate(arguments, checks=False)
    assert same_bits(out, other_out)
    assert same_bits(lse, other_lse)


# --- tensors as they come --------------------------------------------------------------------------------------------


def test_views_of_a_packed_tensor_are_read_in_place() -> None:
    packed = torch.randn(2, 130, 3, 4, 64).half()
    assert_matches_float64({"q": packed[:, :, 0], "k": packed[:, :, 1], "v": packed[:, :, 2], "causal": True})


def test_transposed_and_expanded_views_are_read_in_place() -> None:
    q = torch.randn(2, 4, 70, 64).half().transpose(1, 2)
    kv = torch.randn(1, 300, 1, 64).half().expand(2, -1, 2, -1)
    assert_matches_float64({"q": q, "k": kv, "v": kv.flip(1)})


def test_memory_around_the_tensors_is_not_touched() -> None:
    guard = torch.full((4, 70, 2, 64), 7.0).half()
    q = guard[1:3]
    q.copy_(torch.randn(q.shape))
    before = guard.clone()
    assert_matches_float64({"q": q, "k": q, "v": q})
    assert torch.equal(guard, before)


# --- the operator on the simulator -----------------------------------------------------------------------------------


def test_backend_makes_the_operator_run_on_the_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = make_qkv(Case(64, 128, True, 32, 2))
    expected, _ = sim.flash_attention(**arguments)
    launches = []
    genuine = launch.launch_flash_attention
    monkeypatch.setattr(launch, "launch_flash_attention", lambda *args: (launches.append(1), genuine(*args))[1])
    with fastattention_npu.backend("sim", soc="ascend910b3"):
        out = fastattention_npu.flash_attn_func(arguments["q"], arguments["k"], arguments["v"], causal=True)
        compiled = torch.compile(torch.ops.fastattn.flash_attention, fullgraph=True, backend="aot_eager")
        compiled_out, _ = compiled(**arguments)
    fastattention_npu.flash_attn_func(arguments["q"], arguments["k"], arguments["v"])
    assert len(launches) == 2
    assert same_bits(out, expected)
    assert same_bits(compiled_out, expected)


def test_poisoned_outputs_show_what_the_kernel_leaves_unwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that does nothing must not look right because of what memory happened to hold."""
    core = launch.core()

    class Idle:
        plan, device_constants = core.plan, core.device_constants

        @staticmethod
        def simulate_flash_attention(*_args: Any) -> dict[str, Any]:
            return {"hazards": 0}

    monkeypatch.setattr(launch, "core", lambda: Idle)
    out, lse, _ = simulate(make_qkv(Case(7, 7, False, 16, 1)))
    assert out.isnan().all()
    assert lse.isnan().all()


def test_results_that_raced_are_not_returned_without_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = launch.core()

    class Racing:
        plan, device_constants, SimulatorError = genuine.plan, genuine.device_constants, genuine.SimulatorError

        @staticmethod
        def simulate_flash_attention(*_args: Any) -> dict[str, Any]:
            return {"hazards": 1, "hazard_texts": ["write-after-read in UB"]}

    monkeypatch.setattr(launch, "core", lambda: Racing)
    arguments = make_qkv(Case(7, 7, False, 16, 1))
    with pytest.raises(genuine.SimulatorError, match="write-after-read in UB"):
        sim.flash_attention(**arguments)
    with fastattention_npu.backend("sim"), pytest.raises(genuine.SimulatorError, match="1 hazards"):
        torch.ops.fastattn.flash_attention(**arguments)
    assert sim.flash_attention(**arguments, return_report=True)[2].figures["hazards"] == 1


def test_a_warning_of_the_simulator_fails_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary of the filter in pyproject.toml; test_rules.py has a kernel that gives the warning."""
    genuine = launch.core()

    class Careless:
        plan, device_constants = genuine.plan, genuine.device_constants

        @staticmethod
        def simulate_flash_attention(*_args: Any) -> dict[str, Any]:
            return {"hazards": 0, "warning_texts": ["PIPE_ALL finds the flag still pending"]}

    monkeypatch.setattr(launch, "core", lambda: Careless)
    with pytest.raises(fastattention_npu.SimulatorWarning, match="still pending"):
        sim.flash_attention(**make_qkv(Case(7, 7, False, 16, 1)))


def test_split_tasks_meet_without_a_pending_flag() -> None:
    arguments = make_qkv(Case(64, 2048, False, 64, 1))
    _, _, report = simulate(arguments)
    assert report.plan["tiling"]["schedule"] == 1  # ranges of keys, whose parts are combined
    assert report.figures["warning_texts"] == []


def test_ranges_that_overlap_end_together() -> None:
    ranges = {"q": (100, 50), "k": (120, 50), "v": (165, 10), "mask": (175, 5)}
    assert kernel_call.share_memory(ranges) == {"q": (100, 75), "k": (120, 55), "v": (165, 10), "mask": (175, 5)}


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "d", "words"),
    [
        (torch.float32, 64, ["q.dtype", "torch.float32", "fp16, bf16 on backend sim"]),
        (torch.float16, 300, ["d = 300", "1 to 256"]),
        (torch.float32, 257, ["q.dtype", "d = 257"]),
    ],
    ids=str,
)
def test_what_the_kernel_cannot_do_is_one_error(dtype: torch.dtype, d: int, words: list[str]) -> None:
    q = torch.zeros(1, 8, 1, d, dtype=dtype)
    with pytest.raises(ArgumentError) as caught:
        sim.flash_attention(q, q, q)
    with fastattention_npu.backend("sim"), pytest.raises(ArgumentError) as fake:
        torch.ops.fastattn.flash_attention(*(x.to("meta") for x in (q, q, q)))
    assert all(word in str(caught.value) for word in words)
    assert str(fake.value) == str(caught.value)


def test_a_tiling_that_does_not_fit_names_the_buffer(tmp_path: Path) -> None:
    file = tmp_path / "huge.yaml"
    file.write_text("block_q: 256\nblock_kv: 1792\nl1_tile_kv: 1792\nl0_tile_kv: 128\n")
    with pytest.raises(ValueError, match=r"l1\w+ in L1") as caught:
        sim.flash_attention(**make_qkv(Case(500, 2048, False, 128, 1)), tiling=file)
    assert "ascend910b2" in str(caught.value)


def test_seqused_k_outside_the_keys_is_refused() -> None:
    arguments = make_qkv(Case(8, 8, False, 16, 1)) | {"seqused_k": torch.tensor([9], dtype=torch.int32)}
    with pytest.raises(ArgumentError, match="seqused_k value = 9: must be 0 to s_kv = 8"):
        sim.flash_attention(**arguments)
