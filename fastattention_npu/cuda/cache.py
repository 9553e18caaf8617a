"""The disk cache of compiled kernels.

Stage: (source, architecture, NVRTC version) -> binary. A file appears under its final name only when it is whole
(written aside, then renamed), so any number of processes may compile the same kernel at the same time. A cache folder
may be copied to a machine that has no NVRTC: a binary of another NVRTC version is used when none can be made.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from . import nvrtc

ENV_FOLDER = "FASTATTN_CUDA_CACHE"
OPTIONS = ["-std=c++17", "-default-device", "--use_fast_math", "-w"]


def folder() -> Path:
    """Where the binaries lie: $FASTATTN_CUDA_CACHE, or fastattention_npu/cuda under the user's cache folder."""
    if explicit := os.environ.get(ENV_FOLDER):
        return Path(explicit)
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "fastattention_npu" / "cuda"


def digest(source: str, headers: Mapping[str, str]) -> str:
    """Identifies the text that is compiled, headers and options included."""
    state = hashlib.sha256()
    for text in [source, *(f"{name}\n{headers[name]}" for name in sorted(headers)), *OPTIONS]:
        state.update(text.encode())
        state.update(b"\0")
    return state.hexdigest()[:32]


def get(source: str, headers: Mapping[str, str], arch: int, *, cubin: bool) -> bytes:
    """The binary of one translation unit for sm_<arch>, from the cache or compiled now."""
    suffix = "cubin" if cubin else "ptx"
    stem = f"{digest(source, headers)}-{'sm' if cubin else 'compute'}_{arch}"
    try:
        compiler = nvrtc.find(arch)
    except nvrtc.NvrtcError:
        foreign = sorted(folder().glob(f"{stem}-nvrtc*.{suffix}"))
        if not foreign:
            raise
        return foreign[-1].read_bytes()
    path = folder() / f"{stem}-nvrtc{compiler.version_text}.{suffix}"
    try:
        return path.read_bytes()
    except OSError:
        pass
    target = f"--gpu-architecture={'sm' if cubin else 'compute'}_{arch}"
    binary = compiler.compile(source, headers, [target, *OPTIONS], cubin=cubin)
    _write(path, binary)
    return binary


def _write(path: Path, binary: bytes) -> None:
    """Best effort: a read-only home costs a compilation per process, not a failure."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(binary)
            os.replace(aside, path)
        except BaseException:
            os.unlink(aside)
            raise
    except OSError:
        return
