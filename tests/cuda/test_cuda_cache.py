"""The disk cache: keyed by text, architecture and compiler; whole files only; usable without a compiler."""

from __future__ import annotations

import concurrent.futures
from pathlib import Path

import pytest

from fastattention_npu.cuda import cache, nvrtc

HEADERS = {"a.cuh": "// nothing\n"}


class FakeCompiler:
    """Counts compilations and returns what it was asked for."""

    version_text = "12.9"

    def __init__(self) -> None:
        self.calls = 0

    def compile(self, source: str, headers: dict[str, str], options: list[str], *, cubin: bool) -> bytes:
        self.calls += 1
        return f"{source}|{options[0]}|{cubin}".encode() * 1000


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeCompiler:
    fake = FakeCompiler()
    monkeypatch.setenv(cache.ENV_FOLDER, str(tmp_path))
    monkeypatch.setattr(nvrtc, "find", lambda arch: fake)
    return fake


def test_second_call_does_not_compile(compiler: FakeCompiler) -> None:
    first = cache.get("x", HEADERS, 70, cubin=True)
    assert cache.get("x", HEADERS, 70, cubin=True) == first
    assert compiler.calls == 1


def test_key_covers_source_headers_architecture_kind_and_version(compiler: FakeCompiler) -> None:
    cache.get("x", HEADERS, 70, cubin=True)
    cache.get("y", HEADERS, 70, cubin=True)
    cache.get("x", {"a.cuh": "// changed\n"}, 70, cubin=True)
    cache.get("x", HEADERS, 75, cubin=True)
    cache.get("x", HEADERS, 70, cubin=False)
    compiler.version_text = "12.8"
    cache.get("x", HEADERS, 70, cubin=True)
    assert compiler.calls == 6


def test_concurrent_writers_leave_whole_files(compiler: FakeCompiler, tmp_path: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = set(pool.map(lambda _: cache.get("x", HEADERS, 70, cubin=True), range(32)))
    assert len(results) == 1
    files = list(tmp_path.iterdir())
    assert len(files) == 1
    assert files[0].read_bytes() == results.pop()


def test_read_only_folder_only_costs_time(
    compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(cache.ENV_FOLDER, str(tmp_path / "file" / "sub"))
    assert cache.get("x", HEADERS, 70, cubin=True)


def test_copied_cache_serves_a_machine_without_nvrtc(compiler: FakeCompiler, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = cache.get("x", HEADERS, 70, cubin=True)

    def missing(arch: int) -> nvrtc.Nvrtc:
        raise nvrtc.NvrtcError(f"none for {arch}: {nvrtc.PIP_COMMAND}")

    monkeypatch.setattr(nvrtc, "find", missing)
    assert cache.get("x", HEADERS, 70, cubin=True) == binary
    with pytest.raises(nvrtc.NvrtcError, match="pip install"):
        cache.get("y", HEADERS, 70, cubin=True)


class NewCompiler:
    """An NVRTC of CUDA 13."""

    path = "libnvrtc.so.13"
    version = (13, 0)
    version_text = "13.0"
    supports = nvrtc.Nvrtc.supports


def test_too_new_and_missing_compilers_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    find = nvrtc.find.__wrapped__
    monkeypatch.setattr(nvrtc, "_candidates", lambda: iter(["libnvrtc.so.13"]))
    monkeypatch.setattr(nvrtc, "_load", lambda path: NewCompiler())
    assert find(75).version == (13, 0)
    with pytest.raises(nvrtc.NvrtcError, match=r"13\.0.*too new for sm_70.*pip install nvidia-cuda-nvrtc-cu12"):
        find(70)
    monkeypatch.setattr(nvrtc, "_candidates", lambda: iter([]))
    with pytest.raises(nvrtc.NvrtcError, match=r"no NVRTC library found.*pip install"):
        find(75)
