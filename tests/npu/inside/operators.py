"""The operators on npu:0 under the genuine torch_npu, their launches in the embedded simulator."""

import threading
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import fastattention_npu as fa
from fastattention_npu import ArgumentError, reference
from fastattention_npu.arguments import check_arguments
from fastattention_npu.dispatch import Backend
from fastattention_npu.npu.launch import launch_flash_attention
from fastattention_npu.options import Options

NPU = torch.device("npu:0")


def inputs(s_q: int, s_kv: int, h_q: int = 2, h_kv: int = 2, d: int = 64, b: int = 1, dtype=torch.float16):
    generator = torch.Generator().manual_seed(s_q * 1000 + s_kv)
    shapes = [(b, s_q, h_q, d), (b, s_kv, h_kv, d), (b, s_kv, h_kv, d)]
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def assert_right(out: torch.Tensor, q, k, v, **options) -> None:
    assert out.device == NPU
    exact, _ = reference.attention_float64(q, k, v, **options)
    same, _ = reference.attention_same_precision(q, k, v, **options)
    assert reference.check(out.cpu(), exact, same).ok


def to_npu(*tensors: torch.Tensor) -> list[torch.Tensor]:
    return [x.to(NPU) for x in tensors]


# What brings values to the host or lays a tensor out anew.
COPIES = {f"aten.{name}" for name in ("_local_scalar_dense", "_to_copy", "copy_", "clone", "nonzero", "contiguous")}


class Operators(TorchDispatchMode):
    """The names of the operators that run inside the `with` block."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(str(func.overloadpacket))
        return func(*args, **(kwargs or {}))


CASES = {
    "causal": ({"s_q": 100, "s_kv": 130}, {"causal": True}),
    "grouped-bf16": ({"s_q": 64, "s_kv": 200, "h_q": 4, "h_kv": 2, "d": 80, "dtype": torch.bfloat16}, {}),
    "window": ({"s_q": 128, "s_kv": 128}, {"window_size": (32, 0)}),
    "softcap": ({"s_q": 33, "s_kv": 65}, {"softcap": 20.0}),
    "one-query": ({"s_q": 1, "s_kv": 300, "b": 2}, {"causal": True}),
}


@pytest.mark.parametrize(("sizes", "options"), CASES.values(), ids=CASES)
def test_flash_attn_func(sizes, options) -> None:
    q, k, v = inputs(**sizes)
    out = fa.flash_attn_func(*to_npu(q, k, v), **options)
    window = options.get("window_size", (-1, -1))
    plain = {name: x for name, x in options.items() if name != "window_size"}
    assert_right(out, q, k, v, **plain, window_left=window[0], window_right=window[1])


def test_packed_tensors_are_read_in_place() -> None:
    q, k, v = inputs(96, 96)
    qkv = torch.stack([q, k, v], 2).to(NPU)  # (b, s, 3, h, d)
    assert_right(fa.flash_attn_qkvpacked_func(qkv, causal=True), q, k, v, causal=True)
    kv = torch.stack([k, v], 2).to(NPU)
    assert_right(fa.flash_attn_kvpacked_func(q.to(NPU), kv), q, k, v)


def test_varlen() -> None:
    lengths_q, lengths_k = [40, 0, 17], [64, 5, 33]
    q, k, v = (x.squeeze(0) for x in inputs(sum(lengths_q), sum(lengths_k)))  # (tokens, h, d)
    starts_q, starts_k = (torch.tensor([0, *x], dtype=torch.int32).cumsum(0).int() for x in (lengths_q, lengths_k))
    arguments = (*to_npu(q, k, v, starts_q, starts_k), max(lengths_q), max(lengths_k))
    out = fa.flash_attn_varlen_func(*arguments, causal=True)
    host = fa.flash_attn_varlen_func(q, k, v, starts_q, starts_k, max(lengths_q), max(lengths_k), causal=True)
    assert out.device == NPU
    assert (out.cpu().float() - host.float()).abs().max() < 5e-3
    for i in range(3):
        rows, keys = slice(starts_q[i], starts_q[i + 1]), slice(starts_k[i], starts_k[i + 1])
        if lengths_q[i]:
            assert_right(out[rows][None], q[rows][None], k[keys][None], v[keys][None], causal=True)


def test_packed_forms_of_packed_sequences() -> None:
    qkv = torch.stack([x.squeeze(0) for x in inputs(57, 57)], 1)  # (tokens, 3, h, d)
    starts = torch.tensor([0, 40, 40, 57], dtype=torch.int32)
    there, cu = to_npu(qkv, starts)
    for out in (
        fa.flash_attn_varlen_qkvpacked_func(there, cu, 40, causal=True),
        fa.flash_attn_varlen_kvpacked_func(there[:, 0], there[:, 1:], cu, cu, 40, 40, causal=True),
    ):
        for begin, end in ((0, 40), (40, 57)):
            assert_right(out[begin:end][None], *(x[None] for x in qkv[begin:end].unbind(1)), causal=True)


def test_key_counts_on_the_device() -> None:
    q, k, v = inputs(20, 90, b=2)
    used = torch.tensor([90, 31], dtype=torch.int32)
    out, lse = torch.ops.fastattn.flash_attention(*to_npu(q, k, v), seqused_k=used.to(NPU))
    assert_right(out, q, k, v, seqused_k=used)
    assert lse.device == NPU
    _, lse_exact = reference.attention_float64(q, k, v, seqused_k=used)
    assert (lse.cpu() - lse_exact).abs().max() < 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
@pytest.mark.parametrize("on_device", [True, False], ids=["tensor", "int"])
def test_appending_to_a_cache(on_device: bool, dtype: torch.dtype) -> None:
    """Grouped heads; in place, without an operator of CANN's and without a look at the device."""
    generator = torch.Generator().manual_seed(1)
    q, k, v, k_cache, v_cache = (
        torch.randn(2, s, h, 64, generator=generator).to(dtype) for s, h in ((3, 4), (3, 2), (3, 2), (70, 2), (70, 2))
    )
    used = torch.tensor([31, 17], dtype=torch.int32) if on_device else 17
    there = to_npu(q, k_cache, v_cache, k, v)
    lengths = to_npu(used)[0] if on_device else used
    out = fa.flash_attn_with_kvcache(*there, cache_seqlens=lengths, causal=True)
    fa.flash_attn_with_kvcache(q, k_cache, v_cache, k, v, cache_seqlens=used, causal=True)  # appends to these
    assert torch.equal(there[1].cpu(), k_cache)
    assert torch.equal(there[2].cpu(), v_cache)
    seqused = (used if on_device else torch.full((2,), used, dtype=torch.int32)) + 3
    assert_right(out, q, k_cache, v_cache, causal=True, seqused_k=seqused)


def test_the_append_alone_takes_pages_and_chosen_rows() -> None:
    generator = torch.Generator().manual_seed(2)
    new = [torch.randn(2, 5, 2, 32, generator=generator).half() for _ in range(2)]
    caches = [torch.randn(6, 16, 2, 32, generator=generator).half() for _ in range(2)]
    used = torch.tensor([14, 3], dtype=torch.int32)
    table = torch.tensor([[3, 1], [0, 5]], dtype=torch.int32)
    append = torch.ops.fastattn.append_kv_cache_
    for index, pages in ((None, table), (torch.tensor([4, 1], dtype=torch.int32), None)):
        start = used if pages is not None else used.clamp(max=11)
        there = to_npu(*caches)
        indices = [x if x is None else x.to(NPU) for x in (start, index, pages)]
        lengths = append(*there, *to_npu(*new), *indices)
        assert torch.equal(lengths.cpu(), append(*caches, *new, start, index, pages))
        assert all(torch.equal(x.cpu(), y) for x, y in zip(there, caches, strict=True))


def test_a_cache_on_the_device_that_is_full() -> None:
    """Nobody may look at the length, so the kernel leaves out what has no room, and says what the cache holds."""
    new, caches = torch.ones(2, 4, 1, 16).half(), torch.zeros(2, 8, 1, 16).half()
    there = to_npu(caches, caches)
    used = torch.tensor([6, 100], dtype=torch.int32).to(NPU)
    lengths = torch.ops.fastattn.append_kv_cache_(*there, *to_npu(new, new), used)
    torch.npu.synchronize()
    assert lengths.cpu().tolist() == [8, 8]
    for cache in there:
        assert cache.cpu()[:, :, 0, 0].tolist() == [[0] * 6 + [1, 1], [0] * 8]


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
def test_torch_compile_of_an_append(compiler: str) -> None:
    q, k, v = inputs(2, 2)
    caches = [torch.zeros(1, 40, 2, 64).half() for _ in range(2)]
    used = torch.tensor([9], dtype=torch.int32)
    there, lengths = to_npu(q, *caches, k, v), used.to(NPU)
    step = torch.compile(
        lambda *x: fa.flash_attn_with_kvcache(*x, cache_seqlens=lengths, causal=True), fullgraph=True, backend=compiler
    )
    with torch.no_grad():
        out = step(*there)
    caches[0][:, 9:11], caches[1][:, 9:11] = k, v
    assert torch.equal(there[1].cpu(), caches[0])
    assert_right(out, q, *caches, causal=True, seqused_k=used + 2)


def test_appends_in_a_graph() -> None:
    """Each replay appends behind what the last one left: the lengths stay on the device."""
    generator = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(1, 1, h, 32, generator=generator).half() for h in (2, 1, 1))
    caches = to_npu(*torch.zeros(2, 1, 20, 1, 32).half())
    lengths = torch.tensor([2], dtype=torch.int32).to(NPU)
    held = to_npu(q, k, v)

    def step() -> torch.Tensor:
        after = torch.ops.fastattn.append_kv_cache_(*caches, *held[1:], lengths)
        lengths.copy_(after)
        return fa.flash_attn_with_kvcache(held[0], *caches, cache_seqlens=lengths, causal=True)

    step()
    torch.npu.synchronize()
    graph = torch.npu.NPUGraph()
    with torch.npu.graph(graph):
        out = step()
    for count in (4, 5):
        graph.replay()
        torch.npu.synchronize()
        assert lengths.cpu().tolist() == [count]
        kept = [x.cpu() for x in caches]
        assert torch.equal(kept[0][0, 2:count], k[0].expand(count - 2, -1, -1))
        assert_right(out, q, *kept, causal=True, seqused_k=torch.tensor([count], dtype=torch.int32))


def test_nothing_to_do() -> None:
    q, k, v = inputs(0, 16)
    assert fa.flash_attn_func(*to_npu(q, k, v)).shape == (1, 0, 2, 64)


def test_a_tiling_of_ones_own() -> None:
    q, k, v = inputs(64, 64, d=64)
    with fa.backend("npu", tiling="example_small"):
        assert_right(fa.flash_attn_func(*to_npu(q, k, v)), q, k, v)
        with pytest.raises(ArgumentError, match=r"npu inside backend\('npu'\)"):
            fa.flash_attn_func(q, k, v)


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
def test_torch_compile(compiler: str) -> None:
    q, k, v = inputs(48, 80)
    compiled = torch.compile(lambda *x: fa.flash_attn_func(*x, causal=True), fullgraph=True, backend=compiler)
    with torch.no_grad():
        assert_right(compiled(*to_npu(q, k, v)), q, k, v, causal=True)


def test_inductor_says_that_it_does_not_know_the_device() -> None:
    """Its code for NPUs is Triton's for Ascend, which is not installed: an error, and no code for another device."""
    held = to_npu(*inputs(48, 80))
    compiled = torch.compile(lambda *x: fa.flash_attn_func(*x) * 2, fullgraph=True, backend="inductor")
    with torch.no_grad(), pytest.raises(Exception, match="Device npu not supported"):
        compiled(*held)


def test_two_streams() -> None:
    """Two independent chains, then one that waits for both: out = attention(out1, k, out2)."""
    q, k, v = inputs(64, 64)
    q_, k_, v_ = to_npu(q, k, v)
    torch.npu.synchronize()
    first, second = torch.npu.Stream(), torch.npu.Stream()
    with torch.npu.stream(first):
        out1 = fa.flash_attn_func(q_, k_, v_)
        done = first.record_event()
    with torch.npu.stream(second):
        out2 = fa.flash_attn_func(q_, k_, v_, causal=True)
        second.wait_event(done)
        out = fa.flash_attn_func(out1, k_, out2)
    second.synchronize()
    assert_right(out1, q, k, v)
    assert_right(out2, q, k, v, causal=True)
    assert_right(out, out1.cpu(), k, out2.cpu())


def test_the_mask_is_copied_once_to_each_device() -> None:
    from fastattention_npu.npu.launch import mask_on

    mask_on.cache_clear()
    q, k, v = inputs(32, 48)
    for device in (NPU, torch.device("npu:1"), NPU):
        held = [x.to(device) for x in (q, k, v)]
        outs = [fa.flash_attn_func(*held, causal=True) for _ in range(2)]
        assert torch.equal(*(x.cpu() for x in outs))
    assert (mask_on.cache_info().misses, mask_on.cache_info().hits) == (2, 4)


def test_many_launches_reuse_their_workspace() -> None:
    q, k, v = inputs(64, 64)
    held = to_npu(q, k, v)
    outs = [fa.flash_attn_func(*held)]
    torch.npu.synchronize()
    before = torch.npu.memory_reserved()
    outs += [fa.flash_attn_func(*held) for _ in range(4)]
    torch.npu.synchronize()
    assert torch.npu.memory_reserved() == before
    assert all(torch.equal(outs[0].cpu(), x.cpu()) for x in outs)


def test_a_graph_of_launches() -> None:
    q, k, v = inputs(32, 64)
    held = to_npu(q, k, v)
    fa.flash_attn_func(*held)
    torch.npu.synchronize()
    graph = torch.npu.NPUGraph()
    with torch.npu.graph(graph):
        out = fa.flash_attn_func(*held)
        out = fa.flash_attn_func(out, held[1], held[2])
    for seed in (1, 2):
        other = torch.randn(q.shape, generator=torch.Generator().manual_seed(seed)).half()
        held[0].copy_(other)
        torch.npu.synchronize()
        graph.replay()
        torch.npu.synchronize()
        middle = fa.flash_attn_func(other.to(NPU), *held[1:]).cpu()
        assert_right(out, middle, k, v)


def test_a_graph_follows_the_lengths_on_the_device() -> None:
    """The host cannot have read them: they change between replays of one capture."""
    q, k, v = (x.squeeze(0) for x in inputs(57, 90))  # (tokens, h, d)
    starts_q, starts_k = to_npu(*torch.zeros(2, 4, dtype=torch.int32))
    arguments = (*to_npu(q, k, v), starts_q, starts_k, 57, 90)
    fa.flash_attn_varlen_func(*arguments, causal=True)
    torch.npu.synchronize()
    graph = torch.npu.NPUGraph()
    with torch.npu.graph(graph):
        out = fa.flash_attn_varlen_func(*arguments, causal=True)
    for ends_q, ends_k in (((40, 40, 57), (64, 69, 90)), ((1, 30, 57), (10, 10, 90))):
        starts_q[1:].copy_(torch.tensor(ends_q, dtype=torch.int32))
        starts_k[1:].copy_(torch.tensor(ends_k, dtype=torch.int32))
        torch.npu.synchronize()
        graph.replay()
        torch.npu.synchronize()
        host = fa.flash_attn_varlen_func(q, k, v, starts_q.cpu(), starts_k.cpu(), 57, 90, causal=True)
        assert (out.cpu().float() - host.float()).abs().max() < 5e-3


@pytest.mark.parametrize("layout", ["bshd", "bnsd", "bsh", "tnd"])
def test_nothing_is_read_on_the_host_or_copied(layout: str) -> None:
    """Q, K and V are views of one tensor, lengths lie on the device: the launch is all that happens to them."""
    b, s, h, d = 2, 20, 3, 16
    shape = {"bshd": (b, s, 3, h, d), "bnsd": (b, h, 3, s, d), "bsh": (b, s, 3, h * d), "tnd": (s, 3, h, d)}[layout]
    packed = torch.randn(shape, generator=torch.Generator().manual_seed(1)).half()
    lengths = {"seqused_k": torch.tensor([20, 7], dtype=torch.int32)}
    if layout == "tnd":
        starts = torch.tensor([0, 8, s], dtype=torch.int32)
        lengths = {"cu_seqlens_q": starts, "cu_seqlens_k": starts}
    values = {"layout": layout, "causal": True, "head_dim": d if layout == "bsh" else None}
    here = packed.unbind(1 if layout == "tnd" else 2)
    there = packed.to(NPU).unbind(1 if layout == "tnd" else 2)
    options = Options(**values, **{name: x.to(NPU) for name, x in lengths.items()})
    torch.ops.fastattn.flash_attention(*there, **values, **options.tensors())  # makes the mask
    problem = check_arguments(*there, options, "npu")
    with Operators() as seen:
        out, _ = launch_flash_attention(*there, options, problem, Backend("npu"))
    assert "fastattn_npu.launch" in seen.names
    assert not seen.names & COPIES
    assert_right(out, *here, **values, **lengths)


def test_canary_a_length_that_the_host_reads_is_noticed() -> None:
    starts = torch.zeros(4, dtype=torch.int32).to(NPU)
    for read in (lambda: starts[1].item(), lambda: starts.cpu(), lambda: starts.clone()):
        with Operators() as seen:
            read()
        assert seen.names & COPIES


def test_a_graph_needs_a_first_call() -> None:
    """A mask that is not on the device yet cannot be copied there during a capture."""
    q, k, v = to_npu(*inputs(16, 32, d=16))
    torch.npu.synchronize()
    from fastattention_npu.npu.launch import mask_on

    mask_on.cache_clear()
    with pytest.raises(RuntimeError, match="once before the capture"), torch.npu.graph(torch.npu.NPUGraph()):
        fa.flash_attn_func(q, k, v)


def test_wrong_devices() -> None:
    q, k, v = inputs(16, 16)
    with pytest.raises(ArgumentError) as error:
        fa.flash_attn_func(q.to(NPU), k, v.to("npu:1"))
    assert "k.device = cpu: must be that of q, npu:0" in str(error.value)
    assert "v.device = npu:1: must be that of q, npu:0" in str(error.value)


def test_the_second_device_while_the_first_is_current() -> None:
    q, k, v = inputs(16, 48)
    out = fa.flash_attn_func(*(x.to("npu:1") for x in (q, k, v)))
    assert out.device == torch.device("npu:1")
    assert torch.npu.current_device() == 0
    assert_right(out.to(NPU), q, k, v)


def test_what_the_kernel_does_not_take() -> None:
    q, k, v = to_npu(*(x.float() for x in inputs(16, 16)))
    with pytest.raises(ArgumentError, match="one of fp16, bf16 on backend npu"):
        fa.flash_attn_func(q, k, v)


def test_another_thread() -> None:
    q, k, v = inputs(16, 32)
    results: list[torch.Tensor] = []
    thread = threading.Thread(target=lambda: results.append(fa.flash_attn_func(*to_npu(q, k, v)).cpu().to(NPU)))
    thread.start()
    thread.join()
    assert_right(results[0], q, k, v)


def test_a_launch_that_the_simulated_chip_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace that is too small: the kernel leaves it, and the simulator's text reaches Python."""
    from fastattention_npu.npu import launch

    q, k, v = inputs(64, 64)
    held = to_npu(q, k, v)
    right = fa.flash_attn_func(*held)
    torch.npu.synchronize()
    make_call = launch.make_call

    def stingy(*arguments):
        call = make_call(*arguments)
        return replace(call, plan=call.plan | {"workspace_bytes": 512})

    monkeypatch.setattr(launch, "make_call", stingy)
    fa.flash_attn_func(*held)
    with pytest.raises(RuntimeError) as error:
        torch.npu.synchronize()
    assert "the simulated chip refused flash_attention_fwd" in str(error.value)
    assert "workspace" in str(error.value)
    monkeypatch.undo()
    again = fa.flash_attn_func(*held)
    torch.npu.synchronize()
    assert torch.equal(right.cpu(), again.cpu())


def test_time_between_events_is_simulated() -> None:
    held = to_npu(*inputs(64, 64))
    fa.flash_attn_func(*held)
    start, end = (torch.npu.Event(enable_timing=True) for _ in range(2))
    start.record()
    fa.flash_attn_func(*held)
    end.record()
    torch.npu.synchronize()
    with fa.backend("sim"):
        _, _, report = fa.sim.flash_attention(*(x.cpu() for x in held), return_report=True)
    assert start.elapsed_time(end) * 1e3 == pytest.approx(report.figures["time_us"], rel=1e-2)
