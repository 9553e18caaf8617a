"""Repeatability, threads, memory, errors, and canaries: checkers that must fail on a wrong result."""

from __future__ import annotations

import os
import threading

import pytest
import torch
from cpu_reference import Options, attend, check

from fastattention_npu import cpu
from fastattention_npu._native import core


def some(s_q: int = 100, s_kv: int = 300, h: int = 4, d: int = 64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(2, s_q, h, d), torch.randn(2, s_kv, h, d), torch.randn(2, s_kv, h, d)


@pytest.mark.parametrize("s_q", [1, 100])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_equal_calls_give_equal_bits(s_q: int, threads: int) -> None:
    q, k, v = some(s_q, 2000)
    first = cpu.forward(q, k, v, threads=threads)
    for _ in range(4):
        again = cpu.forward(q, k, v, threads=threads)
        assert torch.equal(first[0], again[0])
        assert torch.equal(torch.as_tensor(first[1]), torch.as_tensor(again[1]))


def test_threads_follow_torch_and_do_not_pile_up() -> None:
    q, k, v = some()
    cpu.forward(q, k, v, threads=3)
    before = core().cpu_pooled_threads()
    callers = [threading.Thread(target=lambda: [cpu.forward(q, k, v, threads=2) for _ in range(5)]) for _ in range(4)]
    for c in callers:
        c.start()
    for c in callers:
        c.join()
    assert core().cpu_pooled_threads() == before, "concurrent callers must share the pool"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_works_after_fork() -> None:
    q, k, v = some()
    cpu.forward(q, k, v, threads=2)
    pid = os.fork()
    if pid == 0:
        try:
            cpu.forward(q, k, v, threads=2)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


def test_all_reasons_at_once() -> None:
    q, k, v = torch.randn(1, 4, 3, 300), torch.randn(1, 4, 2, 300), torch.randn(1, 5, 2, 300).half()
    with pytest.raises(ValueError, match=r"^fastattention_npu\.cpu\.forward cannot take") as e:
        cpu.forward(q, k, v, softcap=-1.0, threads=0, alibi_slopes=torch.ones(2), window_left=-3)
    for part in ("h_q = 3", "v.dtype = torch.float16", "v.shape = (1, 5, 2, 300)", "softcap = -1", "threads = 0",
                 "alibi_slopes.shape = (2,)", "window_left = -3"):  # fmt: skip
        assert part in str(e.value), part


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"layout": "SBHD"}, "layout = 'SBHD'"),
        ({"seqused_k": torch.tensor([301, 2], dtype=torch.int32)}, "seqused_k value = 301: must be 0 to s_kv = 300"),
        ({"seqused_k": torch.tensor([3, 2])}, "seqused_k.dtype = torch.int64: must be torch.int32"),
        ({"attn_mask": torch.ones(3, 3, dtype=torch.bool)}, "must be broadcastable"),
        ({"out": torch.empty(2, 100, 4, 63)}, "out.shape"),
        ({"cu_seqlens_q": torch.zeros(3, dtype=torch.int32)}, "must be left out with layout bshd"),
        ({"softmax_scale": float("nan")}, "softmax_scale"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_refusals(arguments: dict[str, object], part: str) -> None:
    with pytest.raises(ValueError, match=part.replace("(", r"\(")):
        cpu.forward(*some(), **arguments)  # type: ignore[arg-type]


def test_bad_page_table_is_refused_before_anything_is_written() -> None:
    cache = torch.randn(4, 16, 2, 64)
    out = torch.full((1, 1, 2, 64), float("nan"))
    with pytest.raises(ValueError, match=r"block_table\[0, 1\] = 4: must be 0 to 3"):
        cpu.decode(
            torch.randn(1, 1, 2, 64), cache, cache, torch.tensor([20], dtype=torch.int32), out=out,
            block_table=torch.tensor([[0, 4]], dtype=torch.int32),
        )  # fmt: skip
    assert bool(out.isnan().all())


def test_unknown_target_is_refused() -> None:
    with pytest.raises(ValueError, match="available"), cpu.forced_target("sse9"):
        pass


def test_targets_end_in_portable() -> None:
    assert cpu.targets()[-1] == "portable"
    assert cpu.active_target() == cpu.targets()[0]
    assert cpu.has_highway() == (len(cpu.targets()) > 1)


def test_bandwidth_probe_reads() -> None:
    assert cpu.read_bandwidth_gbps(torch.ones(1 << 20), threads=1, repeats=1) > 0
    with pytest.raises(ValueError, match="contiguous"):
        cpu.read_bandwidth_gbps(torch.ones(4, 4)[:, ::2])


@pytest.mark.parametrize("fault", ["scale", "mask", "nan", "zero"])
def test_canary(fault: str) -> None:
    """The checker itself: each planted fault must fail it."""
    q, k, v = some(40, 60)
    truth = attend(q, k, v, Options(causal=True), torch.float64)
    same = attend(q, k, v, Options(causal=True), torch.float32)
    o, lse = cpu.forward(q, k, v, causal=fault != "mask", softmax_scale=0.13 if fault == "scale" else None)
    if fault == "nan":
        o[0, 0, 0, 0] = float("nan")
    if fault == "zero":
        o[1, 39] = 0.0
    with pytest.raises(AssertionError):
        check((o, lse), truth, same)
