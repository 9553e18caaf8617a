"""The AllReduce taken apart (distributed/exchange.py): its order, its sums over gloo, and over peer memory on GPUs."""

import itertools
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from fastattention_npu.distributed import RankFailedError, rates
from fastattention_npu.distributed.call import Call, make_call
from fastattention_npu.distributed.exchange import halves, owner_at, run_exchange, slices
from fastattention_npu.distributed.message_links import MessageLinks
from fastattention_npu.distributed.peer_memory import HostBoard, first_free_everywhere
from fastattention_npu.distributed.schedule import Schedule, each
from fastattention_npu.distributed.watch import Watch
from tests.test_allreduce_gloo import CASES as OPERATOR_CASES
from tests.test_allreduce_gloo import check, spawn
from tests.test_fused_kernel import Case, make_ranks

CASES = [*OPERATOR_CASES, Case(3, 50, h_q=1, h_kv=1, blocks=(2, 48)), Case(4, 3, h_q=1, h_kv=1, blocks=(1, 2))]


def call_of(case: Case, rank: int) -> Call:
    ranks, bias, options = make_ranks(case)
    r = ranks[rank]
    lengths = (options.get("cu_seqlens_q"), options.get("cu_seqlens_k"))
    return make_call(r.q, r.k, r.v, r.w_o, bias, None, case.causal, case.window, *lengths)


def _exchanged(rank: int, group: Any, cases: list[Case]) -> list[list[torch.Tensor]]:
    results = []
    for case in cases:
        call = call_of(case, rank)
        forms = [
            each(case.blocks or (call.tokens,), exchange=True),
            Schedule((case.blocks or (call.tokens,),), exchange=True),
        ]
        results.append([run_exchange(call, MessageLinks(group, call.q.device), form) for form in (*forms, forms[0])])
    return results


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_matches_float64_over_messages(ranks: int, tmp_path: Path) -> None:
    cases = [case for case in CASES if case.ranks == ranks]
    results = spawn(_exchanged, ranks, tmp_path, cases)
    for i, case in enumerate(cases):
        cut, whole, again = zip(*(result[i] for result in results), strict=True)
        check(list(cut), case)
        check(list(whole), case)
        assert all(torch.equal(a, b) for a, b in zip(cut, again, strict=True)), "two runs differ"


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_every_rank_adds_to_every_sum_once_and_the_owner_last(ranks: int) -> None:
    for rank in range(ranks):
        assert sorted(owner_at(rank, step, ranks) for step in range(ranks)) == list(range(ranks))
        assert owner_at(rank, ranks - 1, ranks) == rank
        for step in range(1, ranks):  # what it adds to, its predecessor has handed on in the step before
            assert owner_at(rank, step, ranks) == owner_at((rank - 1) % ranks, step - 1, ranks)


@pytest.mark.parametrize(("blocks", "ranks"), [((1, 7, 100), 4), ((3,), 8), ((5, 1), 2), ((64, 32, 32), 2)])
def test_parts_of_all_owners_are_all_tokens(blocks: tuple[int, ...], ranks: int) -> None:
    cut = [slices(blocks, owner, ranks) for owner in range(ranks)]
    assert [row for parts in cut for part in parts for row in range(part.begin, part.end)] == list(range(sum(blocks)))
    assert all(len(parts) == len(blocks) for parts in cut)
    assert [block for half in halves(blocks) for block in half] == list(range(len(blocks)))


@pytest.mark.parametrize("tokens", [16, 1000, 32768])
def test_parts_in_sixteenths_are_all_tokens(tokens: int) -> None:
    for parts in rates.PARTS:
        form = rates.parted(tokens, parts)
        assert [len(launch) for launch in form.launches] == [len(launch) for launch in parts]
        assert sum(form.blocks) == tokens
        shares = zip(form.blocks, itertools.chain(*parts), strict=True)
        assert all(abs(16 * block - tokens * part) < 16 for block, part in shares)


@pytest.mark.parametrize(("words", "index"), [([3, 3], 0), ([3, 2], 1), ([1, 2], None), ([0, 3], None), ([4], 2)])
def test_a_buffer_must_be_free_everywhere(words: list[int], index: int | None) -> None:
    assert first_free_everywhere(words) == index


def _boards(rank: int, group: Any) -> tuple[list[list[int]], str]:
    board = HostBoard(group, timeout_s=0.5)
    words = [board.exchange(call, 10 * call + rank, lambda: None) for call in range(1, 6)]
    if rank == 1:
        return words, ""
    with pytest.raises(RuntimeError, match="timed out waiting for the other ranks") as error:
        board.exchange(6, 0, lambda: None)
    return words, str(error.value)


def test_ranks_read_each_others_words(tmp_path: Path) -> None:
    (first, text), (second, _) = spawn(_boards, 2, tmp_path)
    assert first == second == [[10 * call, 10 * call + 1] for call in range(1, 6)]
    assert text


class Stuck:
    """Work that never ends, until it is let go."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def query(self) -> bool:
        return self.released.is_set()


def test_work_that_outlasts_the_timeout_raises_where_it_was_called() -> None:
    watch, work = Watch(timeout_s=0.3), Stuck()
    with pytest.raises(RankFailedError, match="rank 1 does not answer"):  # noqa: PT012
        watch.follow_marker(work, lambda: "rank 1 does not answer", work.released.set)
        assert work.released.wait(10)
        for _ in range(100):
            time.sleep(0.01)
    with pytest.raises(RankFailedError, match="rank 1"):
        watch.raise_if_failed()


def test_work_that_ends_raises_nothing() -> None:
    watch, work = Watch(timeout_s=0.2), Stuck()
    work.released.set()
    watch.follow_marker(work, lambda: "nobody", lambda: None)
    time.sleep(0.5)
    watch.raise_if_failed()
