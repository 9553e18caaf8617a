"""The torch_npu glue's compilation where something is missing: what it says, and how to go on."""

import sys
from pathlib import Path

import pytest

from fastattention_npu.errors import BackendUnavailableError
from fastattention_npu.npu import glue


@pytest.fixture(autouse=True)
def a_torch_npu(torch_npu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files can be found; it is not imported."""
    monkeypatch.syspath_prepend(str(torch_npu))
    monkeypatch.setenv(glue.CACHE_VARIABLE, str(tmp_path / "cache"))


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(BackendUnavailableError, match=r"no C\+\+ compiler \(c\+\+, g\+\+, clang\+\+\).*install g"):
        glue.compiled()
    monkeypatch.setenv("CXX", "no-such-compiler -m64")
    with pytest.raises(BackendUnavailableError, match="no-such-compiler -m64"):
        glue.compiled()


def test_a_compiler_with_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "env g++ -m64")
    assert glue.compile_command(tmp_path / "x.so")[:3] == ["env", "g++", "-m64"]


def test_a_torch_npu_that_the_glue_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version's headers: the compiler's words, the versions, and no library that would be taken next time."""
    fails = "import sys; sys.exit('glue.cpp:75: RunOpApiV2 is not a member')"
    monkeypatch.setenv("CXX", f'{sys.executable} -c "{fails}"')
    monkeypatch.setattr(glue, "torch_npu_version", lambda: "2.1.0")
    with pytest.raises(BackendUnavailableError) as error:
        glue.compiled()
    for part in ("does not compile against torch", "torch_npu 2.1.0", "RunOpApiV2 is not a member"):
        assert part in str(error.value)
    assert not list(glue.cache_folder().iterdir())


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(glue.CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(BackendUnavailableError, match="set FASTATTN_CACHE to a folder that can be written"):
        glue.compiled()


def test_a_new_version_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = glue.fingerprint()
    monkeypatch.setattr(glue, "torch_npu_version", lambda: "2.14.0")
    assert glue.fingerprint() != before
