"""The mutation benchmark: its reading of C++, its schema, a sample of its mutants, and canaries of its own."""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mutants import Misbehaving

from fastattention_npu import _core
from fastattention_npu.bench import kernel_build, mutation
from fastattention_npu.bench.kernel_cases import Case, Fingerprint, Verdict
from fastattention_npu.bench.matmul_cases import MatmulCase
from fastattention_npu.bench.mutation_cases import all_cases
from fastattention_npu.bench.mutation_operators import Mutant, find_mutants, sync_helpers
from fastattention_npu.bench.mutation_pool import Pool, Task
from fastattention_npu.bench.mutation_schema import EXCLUDED, NO_MUTANT, Schema, build_schema, rewritten
from fastattention_npu.bench.mutation_text import Source, read_sources
from fastattention_npu.bench.standard_cases import StandardCase
from fastattention_npu.errors import BackendUnavailableError

RING = Source(
    "common/ring.h",
    """// SetFlag in a comment
class Ring {
    void Publish(uint32_t slot) { AscendC::SetFlag<READY>(EventOf(slot)); }
};
""",
)
KERNEL = Source(
    "some/kernel.cpp",
    """constexpr float START = -1.0F;
uint32_t Rounded(uint32_t x) { return x > 7 ? RoundUp(x, 8) : 8; }
void Kernel(uint32_t rows)
{
    Load(ub);
    ring_.Publish(0);
    AscendC::CrossCoreWaitFlag(READY);
    for (uint32_t i = 0; i < rows; ++i) {
        if (i % tiling.ring == 0) {
            AscendC::Duplicate(ub, START, Least(rows - 1, 64));
        }
    }
}
extern "C" __global__ void entry(uint32_t rows) { Kernel(Rounded(rows)); }
""",
)


def changes(mutants: list[Mutant]) -> set[tuple[str, str, str]]:
    return {(m.operator, m.original, m.change if m.moved or not m.scope else "silent") for m in mutants}


def test_operators_know_any_kernel() -> None:
    sources = [RING, KERNEL]
    assert sync_helpers(sources) == {"Publish": "set"}
    assert changes(find_mutants(sources)) == {
        ("sync:leave out", "AscendC::SetFlag<READY>(EventOf(slot))", "left out"),
        ("sync:wrong id", "EventOf(slot)", "EventOf(slot) + 1"),
        ("sync:leave out", "ring_.Publish(0)", "silent"),
        ("sync:misplaced", "ring_.Publish(0)", "one statement earlier"),
        ("sync:leave out", "AscendC::CrossCoreWaitFlag(READY)", "left out"),
        ("sync:wrong id", "READY", "READY + 1"),
        ("sync:ring depth", "tiling.ring", "(tiling.ring + 1)"),
        ("sync:ring depth", "tiling.ring", "(tiling.ring - 1)"),
        ("guard:rounding", "RoundUp(x, 8)", "(x)"),
        ("guard:one side", "x > 7 ? RoundUp(x, 8) : 8", "(RoundUp(x, 8))"),
        ("guard:one side", "x > 7 ? RoundUp(x, 8) : 8", "(8)"),
        ("guard:boundary", "x > 7", "x >= 7"),
        ("guard:forced", "i % tiling.ring == 0", "true"),
        ("guard:forced", "i % tiling.ring == 0", "false"),
        ("guard:no fill", "AscendC::Duplicate(ub, START, Least(rows - 1, 64))", "left out"),
        ("guard:constant", "START", "0.0F"),
        ("guard:one side", "Least(rows - 1, 64)", "(rows - 1)"),
        ("guard:one side", "Least(rows - 1, 64)", "(64)"),
        ("guard:off by one", "1", "0"),
    }


def test_every_mutant_is_written_in_on_its_own_line() -> None:
    numbered = list(enumerate(find_mutants([RING, KERNEL])))
    for source in (RING, KERNEL):
        lines = rewritten(source, numbered).splitlines()
        assert len(lines) == len(source.text.splitlines())
        for number, mutant in numbered:
            if mutant.file == source.file:
                assert f"({number})" in lines[mutant.line - 1]


def test_every_primitive_of_the_kernels_is_a_site() -> None:
    """Counted without the benchmark's own reading of the text."""
    sources = read_sources(kernel_build.checkout_root() / "op_kernel")
    mutants = find_mutants(sources)
    sources = [source for source in sources if not source.file.startswith(EXCLUDED)]
    methods = (f"{sign}{name}(" for name in ("Acquire", "AcquireSlot", "Release", "Drain") for sign in (".", "->"))
    for word in ("SetFlag<", "WaitFlag<", "PipeBarrier<", "CrossCoreWaitFlag(", *methods):
        lines = [
            (source.file, number)
            for source in sources
            for number, line in enumerate(source.text.splitlines(), start=1)
            if word in line.split("//")[0]
        ]
        sites = {(m.file, m.line) for m in mutants if m.operator == "sync:leave out"}
        missing = [place for place in lines if place not in sites]
        # A stage's Drain is none of a ring: its rings' Drains are sites of their own.
        stages = (
            "stages.Drain",
            "output_.Drain",
            "modifiers_.Drain",
            "memory_.Drain",
            "matmul.Drain",
            "softmax.Drain",
            "append.Drain",
        )
        assert all(word == ".Drain(" and any(x in _line(sources, place) for x in stages) for place in missing), missing


def _line(sources: list[Source], place: tuple[str, int]) -> str:
    return next(s for s in sources if s.file == place[0]).text.splitlines()[place[1] - 1]


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    return build_schema(tmp_path_factory.mktemp("schema"))


@pytest.fixture(scope="module")
def bench(schema: Schema) -> Iterator[mutation.Bench]:
    cases, bounded = all_cases()
    with mutation.Bench(schema, mutation.Progress(), cases, bounded[::20]) as bench:
        yield bench


def number_of(schema: Schema, file: str, function: str, original: str, operator: str = "sync:leave out") -> int:
    found = [
        number
        for number, m in enumerate(schema.mutants)
        if (m.file.split("/")[-1], m.function, m.original, m.operator) == (file, function, original, operator)
    ]
    assert found, (file, function, original)
    return found[0]


def test_most_of_a_sample_is_killed(schema: Schema, bench: mutation.Bench) -> None:
    chosen = range(0, len(schema.mutants), 25)
    results = bench.judge(chosen, prove=True)
    figures = mutation.summary(results, 0)
    assert figures["total"] == len(chosen)
    able = len(chosen) - figures["equivalent"]
    assert figures["killed"] >= 0.9 * able, [r for r in results if r.status == "survived"]
    # A mutant may never end (a loop's bound), but only one without the guard of a null pointer takes the process down.
    crashed = [result for result in results if result.how == "crash"]
    assert all(result.mutant.operator == "guard:forced" for result in crashed), crashed


def test_cases_reach_every_site(schema: Schema, bench: mutation.Bench) -> None:
    """New code needs cases of its own (bench/mutation_cases.py): what no case reaches counts for nothing."""
    tasks = [Task(NO_MUTANT, (i,)) for i in bench.first]
    reached = {number for outcome in bench.pool.run(tasks) for number in outcome.reached[0]}
    fused = "attention_linear_allreduce/"  # whose few cases start several ranks
    sites = [(number, m) for number, m in enumerate(schema.mutants) if not m.file.startswith(fused)]
    missed = [str(mutant) for number, mutant in sites if number not in reached]
    assert missed == []


class Worked:
    """A report of one more fractal than planned."""

    def __init__(self, run: Callable[..., dict[str, Any]]) -> None:
        self.run = run

    def __call__(self, *args: Any) -> dict[str, Any]:
        report = self.run(*args)
        report["cube_macs"] += 4096
        report["group_cube_macs"][-1] += 4096
        return report


@pytest.mark.parametrize(
    ("case", "entry"),
    [
        (Case(40, 300), "simulate_flash_attention"),
        (MatmulCase(40, 40, 100), "simulate"),
        (StandardCase(1, 20, 20, 16), "simulate"),
    ],
    ids=str,
)
def test_canary_more_work_than_planned_is_noticed(case: Any, entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not case.run("").caught
    monkeypatch.setattr(_core, entry, Worked(getattr(_core, entry)))
    assert case.run("").how == "work"


def test_a_redundant_barrier_is_proven_and_a_needed_one_caught(schema: Schema, bench: mutation.Bench) -> None:
    redundant = number_of(
        schema, "flash_attention_fwd.cpp", "FlashAttentionForward", "AscendC::PipeBarrier<PIPE_ALL>()"
    )
    needed = number_of(schema, "row_ops.h", "ScaleRows", "Ordered()")
    first, second = bench.judge([redundant, needed])
    assert (first.status, first.how) == ("equivalent", "still ordered")
    assert (second.status, second.how) == ("killed", "hazard")


def test_canary_without_checks_a_mutant_survives(schema: Schema, bench: mutation.Bench) -> None:
    needed = number_of(schema, "row_ops.h", "ScaleRows", "Ordered()")
    (result,) = bench.judge([needed], checks=False, prove=False)
    assert result.status == "survived"
    assert mutation.summary([result], 0)["score"] == 0


def test_a_mutant_that_spins_or_crashes_is_stopped(schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastattention_npu.bench.mutation_pool.TASK_TIMEOUT_S", 0.5)
    cases = [Misbehaving("spin"), Misbehaving("crash"), Misbehaving("end")]
    with Pool(schema, cases) as pool:
        outcomes = pool.run([Task(NO_MUTANT, (i,)) for i in range(3)])
    assert [outcome.verdict.how for outcome in outcomes] == ["runaway", "crash", "clean"]


def fingerprint(outputs: str = "o", listing: str = "l", work: str = "w") -> Fingerprint:
    return Fingerprint(outputs, listing, work, 100)


def test_what_counts_as_a_proof() -> None:
    sync = Mutant("sync:leave out", "f.h", 1, "f", 0, 1, "x", "")
    guard = Mutant("guard:forced", "f.h", 1, "f", 0, 1, "x", "true")
    before = fingerprint()

    def proof(mutant: Mutant, after: Fingerprint) -> str:
        return mutation.equivalence(mutant, [(before, before), (before, after)])[0]

    assert proof(sync, before) == "same instructions"
    assert proof(sync, fingerprint(listing="other")) == "still ordered"
    assert proof(sync, fingerprint(listing="other", work="other")) == ""
    assert proof(guard, fingerprint(listing="other", work="other")) == "same results"
    assert proof(guard, fingerprint(outputs="other")) == ""
    assert mutation.equivalence(guard, [])[0] == ""


def test_canary_a_broken_kernel_is_no_baseline(
    schema: Schema, bench: mutation.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = number_of(schema, "row_ops.h", "ScaleRows", "Ordered()")
    monkeypatch.setattr(mutation, "NO_MUTANT", needed)
    with pytest.raises(mutation.BaselineError, match="hazard"):
        bench.judge([])


def test_bounded_cases_are_many_and_differ() -> None:
    cases = [str(case) for case in all_cases()[1]]
    assert len(cases) > 300
    assert len(set(cases)) == len(cases)


class Judged:
    """Stands in for a Bench: judges nothing, knows the outcome."""

    def __init__(self, results: list[mutation.Result]) -> None:
        self.results = results

    def __enter__(self) -> "Judged":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def judge(self, chosen: range) -> list[mutation.Result]:
        return self.results


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    mutation.add_arguments(parser)
    kill = mutation.Result(Mutant("sync:leave out", "f.h", 3, "f", 0, 1, "x", ""), "killed", "hazard", "case", "text")
    live = mutation.Result(Mutant("guard:forced", "f.h", 4, "f", 0, 1, "y", "true"), "survived", "clean", "case", "why")
    monkeypatch.setattr(mutation, "build_schema", lambda folder: Schema(tmp_path, (kill.mutant,)))
    monkeypatch.setattr(mutation, "Bench", lambda *args: Judged([kill] * 49 + [live]))
    assert mutation.run(parser.parse_args(["--json"])) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["killed"], figures["survived"], figures["equivalent"], figures["total"]) == (49, 1, 0, 50)
    assert figures["mutants"][-1]["line"] == 4
    monkeypatch.setattr(mutation, "Bench", lambda *args: Judged([kill] * 48 + [live] * 2))
    assert mutation.run(parser.parse_args([])) == 1
    assert "survived: op_kernel/f.h:4 y -> true [guard:forced]" in capsys.readouterr().out


def test_without_sources_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def absent() -> Path:
        raise BackendUnavailableError("run it from a source checkout")

    monkeypatch.setattr(kernel_build, "checkout_root", absent)
    assert mutation.run(argparse.Namespace(json=False, every=1)) == 2
    assert "source checkout" in capsys.readouterr().err


def test_a_verdict_that_is_not_clean_is_caught() -> None:
    assert Verdict("hazard").caught
    assert not Verdict("clean").caught
