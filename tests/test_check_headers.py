"""The cross-check against genuine Ascend C headers: the kernels pass it, and every mistake seeded here is reported."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
sys.path.insert(0, str(REPOSITORY / "scripts" / "ascendc"))

import callgraph  # noqa: E402
import crossrun  # noqa: E402
import toolchain  # noqa: E402
import typecheck  # noqa: E402

from fastattention_npu import _core  # noqa: E402

LAYER = REPOSITORY / "fastattention_npu" / "sim" / "ascendc"
PROBE = Path(__file__).parent / "ascendc" / "probe.cpp"
# Calls that the probe leaves out, each with the reason.
PLAIN_POINTER = "headers reach GM through a plain pointer, which leaves no instruction behind"
ADVANCED = "the communication API is part of the advanced API, whose headers only CANN's build completes"
NOT_PROBED = dict.fromkeys(("GetValue", "SetValue", "DataCacheCleanAndInvalid"), PLAIN_POINTER) | dict.fromkeys(
    ("AllReduce", "Commit", "Finalize", "InitV2", "SetCcTilingV2", "Wait"), ADVANCED
)
KERNEL = "flash_attention/flash_attention_fwd.cpp"
Seed = Callable[..., Path]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> toolchain.Toolchain:
    try:
        return toolchain.Toolchain(toolchain.find_headers(None), tmp_path_factory.mktemp("check_headers"))
    except toolchain.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def seed(tmp_path: Path) -> Seed:
    """Copies the kernels with one piece of one file replaced; the kernel's path."""

    def write(file: str, old: str, new: str) -> Path:
        copy = tmp_path / "op_kernel"
        shutil.copytree(REPOSITORY / "op_kernel", copy)
        text = (copy / file).read_text(encoding="utf-8")
        assert old in text, f"{file} no longer holds {old}: choose another place for this mistake"
        (copy / file).write_text(text.replace(old, new, 1), encoding="utf-8")
        return copy / KERNEL

    return write


@pytest.fixture(scope="module")
def libraries(tools: toolchain.Toolchain) -> dict[str, Path]:
    built, complaints = crossrun.build(tools, typecheck.kernels())
    assert not complaints
    return built


@pytest.mark.parametrize("kernel", typecheck.kernels(), ids=lambda path: path.stem)
def test_kernels_pass_the_type_check(tools: toolchain.Toolchain, kernel: Path) -> None:
    assert typecheck.check_kernel(tools, kernel) == []


def test_kernels_hold_no_string_literals() -> None:
    assert typecheck.literals(sorted((REPOSITORY / "op_kernel").rglob("*.[hc]*"))) == []


MISTAKES = {
    "misspelt API": ("common/row_ops.h", "AscendC::Exp(", "AscendC::Expo(", "Expo"),
    "wrong event": ("common/pipeline.h", "HardEvent::MTE2_V,", "HardEvent::MTE2_VEC,", "MTE2_VEC"),
    "unknown field": ("common/cube_tiles.h", "p.dValue = m.cols", "p.dValues = m.cols", "dValues"),
    "wrong memory": (
        "flash_attention/cube_memory.h",
        "SetGlobalBuffer((__gm__ T*)",
        "SetGlobalBuffer((__ubuf__ T*)",
        "no matching member function for call to 'SetGlobalBuffer'",
    ),
    "swapped operands": (
        "common/cube_tiles.h",
        "AscendC::DataCopy(l1, gm, p)",
        "AscendC::DataCopy(gm, l1, p)",
        "no matching function",
    ),
    "narrowing in braces": (
        "common/cube_tiles.h",
        "AscendC::MmadParams p;",
        "AscendC::MmadParams p; const uint16_t rows16{rows}; (void)rows16;",
        "narrow",
    ),
    "call that does nothing": (
        "common/cube_tiles.h",
        "    AscendC::LoadData(l0b, l1, p);\n}",
        "    AscendC::LoadData(l0b, l1, p);\n    AscendC::LoadData(l0b, l1, AscendC::LoadData2DParamsV2{});\n}",
        "compiles to nothing",
    ),
    "cube core left out": (
        "flash_attention/flash_attention_fwd.cpp",
        "if ASCEND_IS_AIC {",
        "if constexpr (sizeof(T) == 1) {",
        "aic pass: flash_attention_fwd: instantiated nothing",
    ),
    "vector core left out": (
        "flash_attention/flash_attention_fwd.cpp",
        "if ASCEND_IS_AIV {",
        "if constexpr (sizeof(T) == 1) {",
        "aiv pass: flash_attention_fwd: instantiated nothing",
    ),
    "no entry": ("flash_attention/flash_attention_fwd.cpp", "__global__", "", "no __global__ entry"),
}


@pytest.mark.parametrize(("file", "old", "new", "complaint"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_seeded_mistake_is_reported(
    tools: toolchain.Toolchain, seed: Seed, file: str, old: str, new: str, complaint: str
) -> None:
    found = typecheck.check_kernel(tools, seed(file, old, new))
    assert complaint in "\n".join(found)


def test_a_string_literal_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "buffers.h"
    path.write_text('#include "a.h"\nstatic_assert(true, "ok");  // "also"\nconst char* name = "l1Q";\n')
    assert [line.rpartition(": ")[2] for line in typecheck.literals([path])] == ['const char* name = "l1Q";']


@pytest.mark.parametrize(
    ("demangled", "bare"),
    [
        ("void AscendC::Fixpipe<float, float, (Config const&)X>(A<B> const&)", "AscendC::Fixpipe"),
        ("AscendC::LocalTensor<half>::LocalTensor(AscendC::TPosition, unsigned)", "AscendC::LocalTensor::LocalTensor"),
        ("mad(float*, half*)", "mad"),
        ("int64_t ns::Ring<1, 2>::EventOf(unsigned int) const", "ns::Ring::EventOf"),
    ],
)
def test_names_lose_their_arguments(demangled: str, bare: str) -> None:
    assert callgraph.bare_name(demangled) == bare


@pytest.mark.slow
@pytest.mark.parametrize("case", crossrun.CASES, ids=str)
def test_the_same_instructions_run_through_both_layers(libraries: dict[str, Path], case: crossrun.Case) -> None:
    found, count = crossrun.differences(case, libraries)
    assert found == []
    assert count >= 7


def test_every_kernel_is_run_through_both_layers() -> None:
    """A new kernel is a row of crossrun.CASES."""
    assert {case.launch().kernel for case in crossrun.CASES} == set(_core.kernels()) - typecheck.LEFT_OUT.keys()


@pytest.mark.slow
def test_one_more_instruction_is_a_difference(tools: toolchain.Toolchain, seed: Seed) -> None:
    kernel = seed("common/row_ops.h", "AscendC::PipeBarrier<PIPE_V>();", "AscendC::PipeBarrier<PIPE_ALL>();")
    libraries, complaints = crossrun.build(tools, [kernel])
    assert not complaints
    found, _ = crossrun.differences(crossrun.CASES[0], libraries)
    assert "headers pipe_barrier PIPE_ALL" in "\n".join(found)


def layer_calls() -> set[str]:
    """Names of the calls that our layer offers."""
    text = "".join(path.read_text(encoding="utf-8") for path in LAYER.glob("*.h"))
    return {*re.findall(r'Here\("(?:\w+::)?(\w+)', text), *re.findall(r"^ASCENDC_\w+\((\w+),", text, re.MULTILINE)}


def test_the_probe_calls_everything_in_the_layer() -> None:
    calls = layer_calls()
    assert {"Fixpipe", "BlockReduceMax", "Adds"} <= calls
    code = typecheck.code_of(PROBE)
    missing = sorted(name for name in calls - NOT_PROBED.keys() if not re.search(rf"\b{name}\b", code))
    assert missing == [], f"add calls of these to {PROBE.name}, or a reason to NOT_PROBED"


@pytest.mark.slow
def test_every_call_of_the_layer_expands_as_in_the_headers(tools: toolchain.Toolchain, tmp_path: Path) -> None:
    ours = tmp_path / "probe.so"
    flags = ["-std=c++17", "-O1", "-shared", "-fPIC", f"-I{REPOSITORY}", f"-I{LAYER}"]
    compiler = os.environ.get("CXX", "g++")
    subprocess.run([compiler, *flags, PROBE, str(crossrun.simulator_library()), "-o", ours], check=True)
    assert typecheck.check_kernel(tools, PROBE) == []
    libraries, complaints = crossrun.build(tools, [PROBE])
    assert complaints == []
    # The probe computes with whatever is there, so only the limits are checked.
    found, count = crossrun.differences(crossrun.CASES[0], libraries, {"kernel_library": str(ours), "checks": False})
    assert found == []
    assert count > 1000


def test_missing_headers_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ASCENDC_HEADERS", "ASCEND_HOME_PATH"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(toolchain.Missing, match="ASCENDC_HEADERS"):
        toolchain.find_headers(None)
    with pytest.raises(toolchain.Missing, match=r"kernel_operator\.h"):
        toolchain.find_headers(str(tmp_path))


@pytest.mark.parametrize("folder", [".", "asc", "aarch64-linux/asc"])
def test_headers_are_found_where_an_installation_has_them(tmp_path: Path, folder: str) -> None:
    headers = (tmp_path / folder).resolve()
    (headers / "impl" / "basic_api").mkdir(parents=True)
    (headers / "include").mkdir()
    (headers / "include" / "kernel_operator.h").touch()
    assert toolchain.find_headers(str(tmp_path)) == headers


def test_a_missing_compiler_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLANG", "no-such-compiler")
    with pytest.raises(toolchain.Missing, match="apt-get install clang-19"):
        toolchain.find_clang()
