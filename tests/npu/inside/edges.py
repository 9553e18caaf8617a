"""Unusual calls of the operators on npu:0: nothing to attend to, gradients, autocast, refusals inside torch.compile."""

import copy
from dataclasses import replace

import pytest
import torch

import fastattention_npu as fa
from fastattention_npu.npu import launch

NPU = torch.device("npu:0")


def inputs() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(2, 24, 2, 64, generator=generator).half() for _ in range(3)]


def assert_close(out: torch.Tensor, expected: torch.Tensor) -> None:
    assert out.device == NPU
    assert (out.cpu().float() - expected.float()).abs().max() < 5e-3


@pytest.fixture
def host() -> list[torch.Tensor]:
    return inputs()


@pytest.fixture
def held(host: list[torch.Tensor]) -> list[torch.Tensor]:
    return [x.to(NPU) for x in host]


def test_no_keys(held) -> None:
    q, k, v = held
    out, lse = torch.ops.fastattn.flash_attention(q, k[:, :0], v[:, :0])
    assert torch.equal(out.cpu(), torch.zeros(2, 24, 2, 64).half())
    assert torch.equal(lse.cpu(), torch.full((2, 2, 24), -torch.inf))


def test_no_batch(held) -> None:
    assert fa.flash_attn_func(*(x[:0] for x in held)).shape == (0, 24, 2, 64)


def test_no_tokens_of_keys_in_a_batch(host, held) -> None:
    starts, none = torch.tensor([0, 10, 24], dtype=torch.int32).to(NPU), torch.zeros(3, dtype=torch.int32).to(NPU)
    for longest in (0, 16, None):
        keys = held[1][0, :0]
        out = fa.flash_attn_varlen_func(held[0][0], keys, keys, starts, none, 24, longest)
        assert torch.equal(out.cpu(), torch.zeros(24, 2, 64).half())


VIEWS = {
    "heads first": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    "every second token": lambda x: torch.stack([x, x.neg()], 2).flatten(1, 2)[:, ::2],
    "behind an odd element": lambda x: torch.cat([x[..., :1], x], -1)[..., 1:],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_views_are_read_in_place(view, host) -> None:
    """Made on the host and given their strides again on the NPU, where only memory can be copied."""
    there = []
    for x in host:
        strided = view(x)
        base = strided._base if strided._base is not None else strided
        memory = base.to(NPU)
        there.append(memory.as_strided(strided.shape, strided.stride(), strided.storage_offset()))
    assert not all(x.is_contiguous() for x in there)
    assert_close(fa.flash_attn_func(*there, causal=True), fa.flash_attn_func(*host, causal=True))


def test_heads_whose_elements_are_apart(held) -> None:
    with pytest.raises(fa.ArgumentError, match=r"q.stride\(-1\) = 48: must be 1 on backend npu"):
        fa.flash_attn_func(held[0].reshape(2, 64, 24, 2).permute(0, 2, 3, 1), *held[1:])


def test_gradients(host, held) -> None:
    """A forward pass of inputs that require them is right; the backward says that there is none, and nothing else."""
    out = fa.flash_attn_func(held[0].requires_grad_(), *held[1:])
    assert_close(out.detach(), fa.flash_attn_func(*host))
    with pytest.raises(NotImplementedError, match="backward of fastattn::flash_attention is not implemented"):
        out.backward(torch.empty_like(out))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_autocast_leaves_it_alone(dtype: torch.dtype, host, held) -> None:
    with torch.amp.autocast("npu", dtype=dtype):
        out = fa.flash_attn_func(*held)
    assert out.dtype == torch.float16
    assert_close(out, fa.flash_attn_func(*host))


def test_a_deep_copy_of_the_output(host, held) -> None:
    assert_close(copy.deepcopy(fa.flash_attn_func(*held)), fa.flash_attn_func(*host))


def test_the_workspace_is_torch_npus(monkeypatch: pytest.MonkeyPatch, held) -> None:
    """It counts among what torch_npu's allocator holds during the call, and not after it."""
    needed, queue = [], launch.queue

    def watched(kernel, plan, *rest):
        needed.append(plan["workspace_bytes"])
        queue(kernel, plan, *rest)

    monkeypatch.setattr(launch, "queue", watched)
    fa.flash_attn_func(*held)  # the mask
    torch.npu.synchronize()
    before = torch.npu.memory_allocated()
    torch.npu.reset_peak_memory_stats()
    out = fa.flash_attn_func(*held)
    peak = torch.npu.max_memory_allocated() - before
    assert needed[-1] > 0
    assert peak >= needed[-1] + out.nbytes
    assert torch.npu.memory_allocated() - before < needed[-1]


def test_a_graph_of_the_mask_mode_full(tmp_path, host, held) -> None:
    """Its S x S mask is copied by the first call only."""
    tiling = tmp_path / "full.yaml"
    tiling.write_text("mask: full\n")
    with fa.backend("npu", tiling=str(tiling)):
        fa.flash_attn_func(*held, causal=True)
        torch.npu.synchronize()
        graph = torch.npu.NPUGraph()
        with torch.npu.graph(graph):
            out = fa.flash_attn_func(*held, causal=True)
    graph.replay()
    torch.npu.synchronize()
    assert_close(out, fa.flash_attn_func(*host, causal=True))


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
def test_a_refused_launch_of_a_compiled_function(monkeypatch: pytest.MonkeyPatch, compiler: str, host, held) -> None:
    make_call = launch.make_call

    def stingy(*arguments):
        call = make_call(*arguments)
        return replace(call, plan=call.plan | {"workspace_bytes": 512})

    step = torch.compile(lambda *x: fa.flash_attn_func(*x), fullgraph=True, backend=compiler)
    with torch.no_grad():
        assert_close(step(*held), fa.flash_attn_func(*host))
        monkeypatch.setattr(launch, "make_call", stingy)
        step(*held)
        with pytest.raises(RuntimeError, match="the simulated chip refused flash_attention_fwd") as error:
            torch.npu.synchronize()
        assert "workspace" in str(error.value)
        monkeypatch.undo()
        assert_close(step(*held), fa.flash_attn_func(*host))
