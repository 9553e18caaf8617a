"""Compiles glue.cpp, the only part of the package that depends on torch's ABI, once per torch and torch_npu version.

Needs a C++ compiler and the headers that the torch and torch_npu wheels hold; no CANN. The library goes to a cache.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import torch

from ..errors import BackendUnavailableError

CACHE_VARIABLE = "FASTATTN_CACHE"  # folder for what is compiled on this machine
SOURCES = ("glue.cpp", "launch_abi.h")
OPTIONS = ("-shared", "-fPIC", "-O2", "-std=c++17", "-w")  # -w: the warnings would be those of foreign headers


@cache
def load() -> None:
    """Makes torch.ops.fastattn_npu.launch available; torch_npu must have been imported."""
    library = compiled()
    try:
        torch.ops.load_library(str(library))
    except OSError as error:
        raise BackendUnavailableError(
            f"the torch_npu glue cannot be loaded: {error}; delete {library} and try again"
        ) from error


def compiled() -> Path:
    """The compiled glue, from the cache or made now."""
    library = cache_folder() / f"fastattn_npu_glue-{fingerprint()}.so"
    if not library.exists():
        # Under another name until it is whole: processes may compile at the same time.
        with _folder_beside(library) as folder:
            unfinished = Path(folder) / library.name
            _run(compile_command(unfinished))
            unfinished.rename(library)
    return library


def _folder_beside(library: Path) -> "tempfile.TemporaryDirectory[str]":
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=library.parent)
    except OSError as error:
        raise BackendUnavailableError(
            f"the torch_npu glue has no place to be kept: {error}; set {CACHE_VARIABLE} to a folder that can be written"
        ) from error


def cache_folder() -> Path:
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE]) / "npu"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fastattention_npu" / "npu"


def fingerprint() -> str:
    """Of everything that decides the library's bytes."""
    folder = Path(__file__).parent
    parts = [torch.__version__, torch_npu_version(), platform.machine(), os.environ.get("CXX", ""), *OPTIONS]
    parts += [(folder / name).read_text(encoding="utf-8") for name in SOURCES]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def torch_npu_version() -> str:
    try:
        return metadata.version("torch-npu")
    except metadata.PackageNotFoundError as error:
        raise BackendUnavailableError("torch_npu is not installed: pip install 'fastattention-npu[npu]'") from error


def compile_command(library: Path) -> list[str]:
    spec = find_spec("torch_npu")
    if spec is None or spec.origin is None:
        raise BackendUnavailableError("torch_npu is not installed: pip install 'fastattention-npu[npu]'")
    torch_root, npu_root = Path(torch.__file__).parent, Path(spec.origin).parent
    includes = [
        torch_root / "include",
        torch_root / "include/torch/csrc/api/include",
        npu_root / "include",
        Path(sysconfig.get_path("include")),
    ]
    libraries = [torch_root / "lib", npu_root / "lib"]
    return [
        *_compiler(),
        *OPTIONS,
        f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
        str(Path(__file__).parent / "glue.cpp"),
        *(f"-I{folder}" for folder in includes),
        *(f"-L{folder}" for folder in libraries),
        *("-ltorch", "-ltorch_cpu", "-lc10", "-ltorch_npu"),
        "-Wl,--allow-shlib-undefined",  # torch_npu's own dependencies are CANN's and may be a stand-in
        *("-o", str(library)),
    ]


def _compiler() -> list[str]:
    """A command and, out of CXX, its options: CXX may be "ccache g++"."""
    commands = [shlex.split(os.environ["CXX"])] if os.environ.get("CXX") else [["c++"], ["g++"], ["clang++"]]
    for command in commands:
        if command and shutil.which(command[0]):
            return command
    names = ", ".join(" ".join(command) for command in commands)
    raise BackendUnavailableError(f"no C++ compiler ({names}) for the torch_npu glue: install g++, or set CXX to one")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackendUnavailableError(
            f"the torch_npu glue does not compile against torch {torch.__version__} and torch_npu "
            f"{torch_npu_version()}:\n{' '.join(command)}\n{done.stderr[-4000:]}"
        )
