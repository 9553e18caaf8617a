"""Rules of the communication server: right calls pass without a finding, every misuse is refused by name."""

import numpy as np
import pytest

from tests.rule_kernels import RULES, broken, run

# Rules of the communication server: rule, kernel, blocks, ranks, variant that breaks it, what the message must say
HCCL_CASES = [
    ("hccl-not-ready", "hccl_init", 2, 1, 1, ["AllReduce", "before InitV2", "AIV 0.0"]),
    ("hccl-not-ready", "hccl_init", 2, 1, 2, ["AllReduce before SetCcTilingV2"]),
    ("hccl-not-ready", "hccl_init", 2, 1, 3, ["AllReduce after Finalize"]),
    ("hccl-not-ready", "hccl_init", 2, 1, 4, ["InitV2", "context"]),
    ("hccl-init-twice", "hccl_init_twice", 2, 1, 1, ["InitV2", "second Hccl object"]),
    ("hccl-tiling-in-gm", "hccl_tiling", 2, 1, 1, ["InitV2", "initTiling lies in GM"]),
    ("hccl-core-kind", "hccl_core_kind", 2, 1, 1, ["AllReduce", "AIC and AIV"]),
    ("hccl-argument", "hccl_argument", 2, 1, 1, ["AllReduce", "sendBuf is null"]),
    ("hccl-argument", "hccl_argument", 2, 1, 2, ["AllReduce", "recvBuf is null"]),
    ("hccl-argument", "hccl_argument", 2, 1, 3, ["AllReduce", "count is 0"]),
    ("hccl-argument", "hccl_argument", 2, 1, 4, ["AllReduce", "repeat is 0"]),
    ("hccl-argument", "hccl_argument", 2, 1, 5, ["AllReduce", "op 1"]),
    ("gm-bounds", "hccl_argument", 2, 1, 6, ["AllReduce", "'sendBuf'", "past the end of GM buffer 'in'"]),
    ("repeat-wrap", "hccl_argument", 2, 1, 7, ["AllReduce", "repeat = 256", "0 ... 255"]),
    ("not-simulated", "hccl_argument", 2, 1, 8, ["AllReduce", "dataType 2"]),
    ("hccl-prepare-count", "hccl_prepares", 2, 1, 1, ["AllReduce", "63"]),
    ("hccl-handle", "hccl_handle", 2, 1, 1, ["Commit", "handle 1 of 0"]),
    ("hccl-handle", "hccl_handle", 2, 1, 2, ["Wait", "handle -1 of 0"]),
    ("hccl-commit-count", "hccl_commits", 2, 1, 1, ["Commit 3 of handle 0", "repeat 2"]),
    ("hccl-commit-count", "hccl_commits", 2, 1, 2, ["Finalize", "repeat 2, committed 1 times"]),
    ("hccl-commit-count", "hccl_commits", 2, 1, 3, ["Finalize", "waited for 1 times"]),
    ("hccl-wait-before-commit", "hccl_wait_early", 2, 1, 1, ["Wait 1 of handle 0 after 0 Commits"]),
    ("hccl-wait-before-commit", "hccl_wait_early", 2, 1, 2, ["Wait 3 of handle 0 after 2 Commits"]),
    ("hccl-wait-before-commit", "hccl_wait_early", 2, 1, 3, ["Wait 1 of handle 0 after 0 Commits", "AIV 0.1"]),
    ("hccl-wait-order", "hccl_wait_order", 2, 1, 1, ["Wait for handle 0 after a Wait for handle 1"]),
    ("hccl-not-finalized", "hccl_finalize", 2, 1, 1, ["kernel exit", "not Finalize"]),
    ("hccl-finalize-sync", "hccl_finalize", 2, 1, 2, ["Finalize", "no SyncAll"]),
    ("hccl-rank-mismatch", "hccl_mismatch", 2, 2, 1, ["rank 1 prepared count 63", "rank 0 prepared count 64"]),
    ("hccl-rank-mismatch", "hccl_mismatch", 2, 2, 2, ["rank 1 prepared", "repeat 1 by Hccl::AllReduce"]),
    ("hccl-rank-missing", "hccl_missing", 2, 2, 1, ["rank 1 has not committed task 2", "Wait", "task 2"]),
    ("hccl-rank-missing", "hccl_missing", 2, 2, 2, ["rank 1 has not committed task 1", "AIV 0.0 waits for task 1"]),
    ("race-read-after-write", "hccl_race", 2, 1, 1, ["'sendBuf'", "AIV0 PIPE_MTE3 -> HCCL server"]),
    ("race-write-after-read", "hccl_race", 2, 1, 2, ["'dst'", "'sendBuf'", "HCCL server -> AIV0 PIPE_MTE3"]),
    ("race-read-after-write", "hccl_race", 2, 1, 3, ["'src'", "'recvBuf'", "HCCL server -> AIV0 PIPE_MTE2"]),
    ("race-read-after-write", "hccl_race", 2, 1, 4, ["'recvBuf'", "the HCCL server of group 0", "of group 1"]),
]
KERNELS = sorted({(kernel, ranks) for _, kernel, _, ranks, _, _ in HCCL_CASES})


@pytest.mark.parametrize(
    ("rule", "kernel", "blocks", "ranks", "variant", "parts"),
    HCCL_CASES,
    ids=[f"{c[0]}-{c[1]}-{c[4]}" for c in HCCL_CASES],
)
def test_broken_rule_is_named(rule: str, kernel: str, blocks: int, ranks: int, variant: int, parts: list[str]) -> None:
    text = broken(rule, kernel, "mix", variant, blocks, ranks=ranks)
    for part in parts:
        assert part in text, text


@pytest.mark.parametrize(("kernel", "ranks"), KERNELS, ids=[k[0] for k in KERNELS])
@pytest.mark.parametrize("threads", [1, 2])
def test_kept_rule_gives_no_finding(kernel: str, ranks: int, threads: int) -> None:
    assert run(kernel, "mix", 0, 2, threads, ranks=ranks).findings == []


def test_a_single_client_needs_no_sync_all() -> None:
    assert run("hccl_single_client", "mix", 0, 2).findings == []


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_sum_over_ranks(ranks: int) -> None:
    out = run("hccl_sum", "mix", 0, 2, ranks=ranks).out.reshape(ranks, -1)[:, :128]
    assert np.array_equal(out, np.full((ranks, 128), ranks * (ranks + 1) / 2, np.float32))


def test_every_server_rule_has_a_case() -> None:
    assert {rule for rule in RULES if rule.startswith("hccl-")} <= {case[0] for case in HCCL_CASES}
