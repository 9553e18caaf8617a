"""Canaries of the simulator: kernels with one fault each, every one of which must be caught, and the right way."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mutants import CAUSAL, FULL_L0C, M_MASK, MUTANTS, PLAIN, TASKS

from fastattention_npu.bench.kernel_build import Edit, EditError, apply_edits, build_edited, copy_kernels
from fastattention_npu.bench.kernel_cases import Case, run_case

UNCHANGED = "unchanged"


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every faulty kernel and an unchanged copy, compiled two at a time."""
    edits = {UNCHANGED: []} | {name: [mutant.edit] for name, mutant in MUTANTS.items()}
    folders = {name: tmp_path_factory.mktemp("kernels") for name in edits}
    with ThreadPoolExecutor(2) as pool:
        built = pool.map(lambda name: build_edited(folders[name], edits[name]), edits)
        return dict(zip(edits, built, strict=True))


@pytest.mark.parametrize("case", [CAUSAL, M_MASK, PLAIN, TASKS, FULL_L0C, Case(5, 600)], ids=str)
def test_the_unchanged_copy_passes(libraries: dict[str, Path], case: Case) -> None:
    verdict = run_case(case, libraries[UNCHANGED])
    assert verdict.how == "clean", verdict.text


@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_is_caught(libraries: dict[str, Path], name: str) -> None:
    mutant = MUTANTS[name]
    verdict = run_case(mutant.case, libraries[name])
    assert (verdict.how, mutant.words in verdict.text) == (mutant.how, True), verdict


def test_an_edit_must_match_exactly_once(tmp_path: Path) -> None:
    copy = copy_kernels(tmp_path)
    with pytest.raises(EditError, match="occurs 0 times"):
        apply_edits(copy, [Edit("common/pipeline.h", "no such text", "")])
    with pytest.raises(EditError, match="exactly once"):
        apply_edits(copy, [Edit("common/cube_tiles.h", "p.ifTranspose = false;", "")])
