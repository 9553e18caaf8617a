"""NVRTC through ctypes: finding a copy that still targets the architecture, and compiling with it.

Stage: kernel source -> PTX or cubin. It must not know about tensors or launches. A Volta or Turing user's torch brings
NVRTC 12.x with it, so no CUDA toolkit is needed; NVRTC 13 dropped sm_70 (it starts at compute_75).
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

PIP_COMMAND = "pip install nvidia-cuda-nvrtc-cu12==12.9.86"
ENV_LIBRARY = "FASTATTN_NVRTC"  # an explicit libnvrtc.so


class NvrtcError(RuntimeError):
    """No usable NVRTC, or a kernel that it refused."""


class Nvrtc:
    """One loaded NVRTC library."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lib = ctypes.CDLL(path)
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(self._lib.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
        self.version = (major.value, minor.value)

    def supports(self, arch: int) -> bool:
        """Whether this NVRTC still generates code for sm_<arch>."""
        return arch >= 75 or self.version < (13, 0)

    def compile(self, source: str, headers: Mapping[str, str], options: list[str], *, cubin: bool) -> bytes:
        """Compile one translation unit; headers are looked up by the names that the source includes."""
        names = (ctypes.c_char_p * len(headers))(*[name.encode() for name in headers])
        texts = (ctypes.c_char_p * len(headers))(*[text.encode() for text in headers.values()])
        program = ctypes.c_void_p()
        self._check(
            self._lib.nvrtcCreateProgram(
                ctypes.byref(program), source.encode(), b"fastattention.cu", len(headers), texts, names
            )
        )
        try:
            flags = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
            status = self._lib.nvrtcCompileProgram(program, len(options), flags)
            if status != 0:
                log = self._fetch(program, "ProgramLog").decode(errors="replace").rstrip("\0")
                raise NvrtcError(f"NVRTC {self.version_text} refused a kernel (options {options}):\n{log}")
            return self._fetch(program, "CUBIN" if cubin else "PTX")
        finally:
            self._lib.nvrtcDestroyProgram(ctypes.byref(program))

    @property
    def version_text(self) -> str:
        """major.minor"""
        return f"{self.version[0]}.{self.version[1]}"

    def _fetch(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._lib, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._lib, f"nvrtcGet{what}")(program, buffer))
        return buffer.raw

    def _check(self, status: int) -> None:
        if status != 0:
            self._lib.nvrtcGetErrorString.restype = ctypes.c_char_p
            raise NvrtcError(f"NVRTC {self.path}: {self._lib.nvrtcGetErrorString(status).decode()}")


def _candidates() -> Iterator[str]:
    """Paths worth trying, best first: an explicit one, those of pip packages, those of the loader."""
    if explicit := os.environ.get(ENV_LIBRARY):
        yield explicit
        return
    for root in dict.fromkeys(sys.path):
        base = Path(root or ".") / "nvidia"
        for pattern in ("cuda_nvrtc/lib/libnvrtc.so.*", "cu1*/lib/libnvrtc.so.*", "cuda_nvrtc/bin/nvrtc64_*.dll"):
            yield from sorted(str(path) for path in base.glob(pattern) if "alt" not in path.name)
    for major in (12, 13, 11):
        yield f"libnvrtc.so.{major}"
    for root in filter(None, (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda")):
        yield from sorted(str(path) for path in Path(root).glob("lib64/libnvrtc.so.1[1-9]"))


@functools.cache
def _load(path: str) -> Nvrtc | None:
    try:
        return Nvrtc(path)
    except (OSError, NvrtcError, AttributeError):
        return None


@functools.cache
def find(arch: int) -> Nvrtc:
    """The first NVRTC that targets sm_<arch>; NvrtcError with the pip command when there is none."""
    too_new: list[str] = []
    for path in _candidates():
        nvrtc = _load(path)
        if nvrtc is None:
            continue
        if nvrtc.supports(arch):
            return nvrtc
        too_new.append(f"{nvrtc.version_text} ({path})")
    if too_new:
        raise NvrtcError(
            f"NVRTC {', '.join(too_new)} is too new for sm_{arch}: CUDA 13 dropped it. Install one that still has it: "
            f"{PIP_COMMAND}"
        )
    raise NvrtcError(
        f"no NVRTC library found to compile the sm_{arch} kernels. Install one: {PIP_COMMAND} "
        f"(or point {ENV_LIBRARY} at a libnvrtc.so)"
    )
