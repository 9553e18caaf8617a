"""torch.ops.fastattn.attention_linear_allreduce over gloo: two and more processes on this machine."""

import math
import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import fastattention_npu
from fastattention_npu.distributed import RankFailedError, TensorParallelAttention
from fastattention_npu.distributed.call import make_call
from fastattention_npu.distributed.pipeline import run_blocks
from fastattention_npu.distributed.schedule import Schedule, each
from tests.test_fused_kernel import Case, make_ranks, reference

TIMEOUT_S = 8
CASES = [
    Case(2, 100, blocks=(30, 30, 40)),
    Case(2, 1),
    Case(2, 97, h_q=4, h_kv=1, blocks=(20, 77)),
    Case(2, 60, s_kv=20, blocks=(30, 30)),
    Case(2, 90, window=(20, 5), causal=False, blocks=(1, 89)),
    Case(2, 70, b=2, blocks=(20, 20, 100), dtype=torch.bfloat16),
    Case(2, 94, lens=((40, 70), (0, 5), (54, 54)), blocks=(30, 30, 34)),
    Case(4, 33, h_q=1, h_kv=1, blocks=(7, 26)),
]


def spawn(job: Callable[..., None], ranks: int, folder: Path, *args: Any) -> list[Any]:
    """Runs job(rank, group, *args) in as many processes; what each saved as result, None of those that died."""
    processes = []
    context = mp.get_context("spawn")
    for rank in range(ranks):
        process = context.Process(target=_begin, args=(job, rank, ranks, str(folder), args))
        process.start()
        processes.append(process)
    for process in processes:
        process.join(120)
        assert process.exitcode is not None, "a rank hangs"
    paths = [folder / f"result{rank}" for rank in range(ranks)]
    return [torch.load(path, weights_only=False) if path.exists() else None for path in paths]


def _begin(job: Callable[..., Any], rank: int, ranks: int, folder: str, args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks, timeout=timedelta(seconds=TIMEOUT_S))
    result = job(rank, dist.group.WORLD, *args)
    torch.save(result, f"{folder}/result{rank}")
    if not isinstance(result, str):
        dist.destroy_process_group()
    os._exit(0)


def call_operator(
    case: Case, rank: int, group: Any, device: torch.device | str = "cpu", **changes: Any
) -> torch.Tensor:
    ranks, bias, options = make_ranks(case)
    q, k, v, w_o = (x.to(device) for x in (ranks[rank].q, ranks[rank].k, ranks[rank].v, ranks[rank].w_o))
    bias = None if bias is None else bias.to(device)
    options = {name: options[name] for name in ("cu_seqlens_q", "cu_seqlens_k") if name in options}
    options |= {"causal": case.causal, "window_left": case.window[0], "window_right": case.window[1]}
    options |= {"blocks": case.blocks} | changes
    return torch.ops.fastattn.attention_linear_allreduce(q, k, v, w_o, bias, group.group_name, **options)


def _all_cases(rank: int, group: Any, cases: list[Case]) -> list[torch.Tensor]:
    return [call_operator(case, rank, group) for case in cases]


def check(outs: list[torch.Tensor], case: Case) -> None:
    ranks, bias, _ = make_ranks(case)
    expected = reference(ranks, bias, case, torch.float64)
    allowed = 2 * (reference(ranks, bias, case, case.dtype).double() - expected).abs().max() + 1e-5
    for out in outs:
        assert torch.equal(out, outs[0])
        assert (out.flatten(0, -2).double() - expected).abs().max() <= allowed, str(case)


PLANNED = Case(2, 600, h_q=2, h_kv=1, hidden=64, d=32)
SIMULATED = Case(2, 60, h_kv=1, blocks=(20, 40))


def _planned(rank: int, group: Any) -> Any:
    out = call_operator(PLANNED, rank, group, blocks=None)  # measured and planned
    ranks, bias, _ = make_ranks(PLANNED)
    r = ranks[rank]
    call = make_call(r.q, r.k, r.v, r.w_o, bias, None, True, (-1, -1), None, None)
    schedule = each((200, 200, 200))
    whole = run_blocks(call, group, Schedule(((200, 400),)))
    assert (whole - out.flatten(0, 1)).abs().max() < 0.01
    return out, [run_blocks(call, group, schedule, overlap=overlap) for overlap in (True, False, True)]


def _module(rank: int, group: Any) -> Any:
    torch.manual_seed(0)
    x = torch.randn(1, 40, 32)
    torch.manual_seed(1)
    whole = TensorParallelAttention(32, 4, 2, 16, bias=True)
    assert whole.bias is not None
    torch.nn.init.normal_(whole.bias)
    part = TensorParallelAttention(32, 4, 2, 16, group, bias=True)
    assert part.bias is not None
    q, k, v = whole.qkv.weight.split([64, 32, 32])
    with torch.no_grad():
        part.qkv.weight.copy_(torch.cat([x.chunk(2)[rank] for x in (q, k, v)]))
        part.w_o.copy_(whole.w_o.chunk(2, dim=1)[rank])
        part.bias.copy_(whole.bias)
        compiled = torch.compile(part, backend="eager", fullgraph=True)
        return whole(x), part(x), compiled(x)


def _two_ranks(rank: int, group: Any) -> dict[str, Any]:
    results = {"cases": _all_cases(rank, group, [case for case in CASES if case.ranks == 2])}
    results |= {"planned": _planned(rank, group), "module": _module(rank, group)}
    with fastattention_npu.backend("sim", threads=1):
        return results | {"simulated": call_operator(SIMULATED, rank, group)}


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes computed, together to save their start."""
    return spawn(_two_ranks, 2, tmp_path_factory.mktemp("gloo"))


def test_two_ranks_match_float64(two_ranks: list[dict[str, Any]]) -> None:
    for i, case in enumerate(case for case in CASES if case.ranks == 2):
        check([results["cases"][i] for results in two_ranks], case)


def test_four_ranks_match_float64(tmp_path: Path) -> None:
    cases = [case for case in CASES if case.ranks == 4]
    results = spawn(_all_cases, 4, tmp_path, cases)
    for i, case in enumerate(cases):
        check([result[i] for result in results], case)


def test_planned_blocks(two_ranks: list[dict[str, Any]]) -> None:
    check([results["planned"][0] for results in two_ranks], PLANNED)


def test_same_bits_with_and_without_overlap_and_between_runs(two_ranks: list[dict[str, Any]]) -> None:
    for results in two_ranks:
        _, forms = results["planned"]
        assert torch.equal(forms[0], forms[1])
        assert torch.equal(forms[0], forms[2])


def test_simulated_npus_behind_the_operator(two_ranks: list[dict[str, Any]]) -> None:
    check([results["simulated"] for results in two_ranks], SIMULATED)


def test_module_splits_heads_and_compiles(two_ranks: list[dict[str, Any]]) -> None:
    for results in two_ranks:
        whole, part, compiled = results["module"]
        assert torch.allclose(part, whole, atol=1e-5)
        assert torch.equal(part, compiled)


def _fails(rank: int, group: Any, how: str) -> str:
    case = Case(2, 64, blocks=(32, 32))
    call_operator(case, rank, group)
    start = time.monotonic()
    if rank == 1 and how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if rank == 1 and how == "hangs":
        time.sleep(TIMEOUT_S + 8)
        return "slept"
    changes = {"blocks": (32, 33)} if rank == 1 and how == "raises" else {}
    try:
        call_operator(case, rank, group, **changes)
    except (RankFailedError, ValueError, RuntimeError) as error:
        return f"{type(error).__name__} after {time.monotonic() - start:.1f}: {error}"
    return "no error"


@pytest.mark.parametrize("how", ["raises", "dies", "hangs"])
def test_a_rank_that_fails_is_named(how: str, tmp_path: Path) -> None:
    first, second = spawn(_fails, 2, tmp_path, how)
    assert first.startswith("RankFailedError after "), first
    assert "rank 1" in first
    assert float(first.split()[2].rstrip(":")) < TIMEOUT_S + 6, first
    if how == "raises":
        assert "add up to the 64 tokens" in first
        assert second.startswith("ArgumentError")


def test_one_rank_without_a_group() -> None:
    case = Case(1, 50)
    ranks, bias, _ = make_ranks(case)
    r = ranks[0]
    out = torch.ops.fastattn.attention_linear_allreduce(r.q, r.k, r.v, r.w_o, bias, "", causal=True)
    check([out], case)


def test_schema_and_fake_agree() -> None:
    q = torch.randn(1, 20, 2, 16)
    args = (q, q, q, torch.randn(24, 32) / math.sqrt(32), torch.randn(24), "")
    torch.library.opcheck(torch.ops.fastattn.attention_linear_allreduce, args, {"causal": True})


def test_every_reason_at_once() -> None:
    q = torch.randn(1, 20, 2, 16)
    k = torch.randn(1, 20, 3, 16)
    with pytest.raises(ValueError, match=r"(?s)2 reasons.*w_o.shape.*h_q = 2: must be a multiple of h_kv = 3"):
        torch.ops.fastattn.attention_linear_allreduce(q, k, k, torch.randn(24, 31), None, "")
    with pytest.raises(ValueError, match=r"(?s)w_o.dtype.*cu_seqlens"):
        torch.ops.fastattn.attention_linear_allreduce(
            q, q, q, torch.randn(24, 32).half(), None, "", cu_seqlens_q=torch.tensor([0, 20])
        )
