"""The exchange over peer memory: two processes with a GPU each."""

import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from fastattention_npu.distributed import RankFailedError
from fastattention_npu.distributed.exchange import run_exchange
from fastattention_npu.distributed.peer_links import peer_links
from fastattention_npu.distributed.schedule import Schedule, each
from tests.test_allreduce_gloo import call_operator, check, spawn
from tests.test_exchange import call_of
from tests.test_fused_kernel import Case

pytestmark = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
TIMEOUT_S = 8
CASES = [
    Case(2, 300, d=64, hidden=96, blocks=(100, 200)),
    Case(2, 1, d=64, hidden=64),
    Case(2, 97, h_q=4, h_kv=1, d=64, hidden=64, bias=False, blocks=(20, 77)),
    Case(2, 90, h_q=3, h_kv=1, d=64, hidden=64, dtype=torch.bfloat16, blocks=(90,)),
]


def nccl(rank: int) -> tuple[Any, torch.device]:
    """An NCCL group beside the gloo one that `spawn` makes."""
    device = torch.device("cuda", rank)
    torch.cuda.set_device(device)
    return dist.new_group(backend="nccl", timeout=timedelta(seconds=TIMEOUT_S), device_id=device), device


def on(call: Any, device: torch.device) -> Any:
    moved = {name: getattr(call, name).to(device) for name in ("q", "k", "v", "w_o")}
    bias = None if call.bias is None else call.bias.to(device)
    return type(call)(**{**call.__dict__, **moved, "bias": bias})


def _exchanged(rank: int, _: Any) -> list[list[torch.Tensor]]:
    group, device = nccl(rank)
    links = peer_links(group, device)
    assert links is not None, "no peer memory between these GPUs"
    results = []
    for case in CASES:
        call = on(call_of(case, rank), device)
        form = each(case.blocks or (call.tokens,), exchange=True)
        kept = [run_exchange(call, links, form, overlap=overlap) for overlap in (True, False, True, True)]
        results.append([out.cpu() for out in kept])
        del kept
    return results


def test_matches_float64_and_results_that_are_kept_stay(tmp_path: Path) -> None:
    results = spawn(_exchanged, 2, tmp_path)
    for i, case in enumerate(CASES):
        for result in results:
            assert all(torch.equal(out, result[i][0]) for out in result[i]), str(case)
        check([result[i][0] for result in results], case)


def _many(rank: int, _: Any) -> list[int]:
    group, device = nccl(rank)
    links = peer_links(group, device)
    assert links is not None
    torch.manual_seed(rank)
    call = on(call_of(Case(2, 1000, d=64, hidden=256), rank), device)
    cuts = (((1000,),), ((400, 600),), ((1, 499), (300, 200)), ((300,), (1,), (400, 299)))
    forms = [Schedule(launches, exchange=True) for launches in cuts]
    expected = [run_exchange(call, links, form, overlap=False).clone() for form in forms]
    wrong = 0
    for i in range(300):
        torch.cuda._sleep(int(torch.randint(0, 300_000, (1,))))  # ranks drift apart
        wrong += int(not torch.equal(run_exchange(call, links, forms[i % 4]), expected[i % 4]))
    return [wrong]


def test_same_bits_in_many_calls_of_ranks_out_of_step(tmp_path: Path) -> None:
    assert spawn(_many, 2, tmp_path) == [[0], [0]]


def _fails(rank: int, _: Any, how: str) -> str:
    group, device = nccl(rank)
    case = Case(2, 64, d=64, hidden=64, blocks=(32, 32))
    call_operator(case, rank, group, device=device)
    torch.cuda.synchronize()
    dist.barrier()
    start = time.monotonic()
    if rank == 1 and how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if rank == 1 and how == "dies later":  # the other's GPU waits for this one's
        links, call = peer_links(group, device), on(call_of(case, rank), device)
        assert links is not None
        torch.cuda._sleep(10**10)
        run_exchange(call, links, each((32, 32), exchange=True))
        os.kill(os.getpid(), signal.SIGKILL)
    if rank == 1 and how == "hangs":
        time.sleep(TIMEOUT_S + 8)
        return "slept"
    changes = {"blocks": (32, 33)} if rank == 1 else {}
    try:
        call_operator(case, rank, group, device=device, **changes)
        torch.cuda.synchronize()
        time.sleep(1)
    except (RankFailedError, ValueError, RuntimeError) as error:
        return f"{type(error).__name__} after {time.monotonic() - start:.1f}: {error}"
    return "no error"


@pytest.mark.parametrize("how", ["raises", "dies", "dies later", "hangs"])
def test_a_rank_that_fails_is_named(how: str, tmp_path: Path) -> None:
    first, second = spawn(_fails, 2, tmp_path, how)
    assert first.startswith("RankFailedError after "), first
    assert "rank 1" in first
    assert float(first.split()[2].rstrip(":")) < TIMEOUT_S + 6, first
    if how == "raises":
        assert "add up to the 64 tokens" in first
        assert second.startswith("ArgumentError")
