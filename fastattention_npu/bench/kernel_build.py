"""Builds the kernels of a source checkout for the simulator, as they are or with edits in a scratch copy.

An installed package holds the built kernels and no sources, so everything here needs a checkout and says so.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .._native import core
from ..errors import BackendUnavailableError

SIMULATOR_LIBRARY = "libascend_sim.so"
# The kernels are C++17, as CANN's compiler has it. -ffp-contract=off as in CMakeLists.txt.
FLAGS = ("-std=c++17", "-shared", "-fPIC", "-ffp-contract=off", "-w")
BUILD_TIMEOUT_S = 300


@dataclass(frozen=True)
class Edit:
    """Replaces the only occurrence of `old` in one file of op_kernel."""

    file: str
    old: str
    new: str


class EditError(ValueError):
    """An edit that does not match its file exactly once, or a copy that does not compile."""


def checkout_root() -> Path:
    root = Path(__file__).resolve().parents[2]
    if not (root / "op_kernel" / "common").is_dir():
        raise BackendUnavailableError(
            "this needs the sources of the kernels (op_kernel), which the installed package does not hold; "
            "run it from a source checkout: pip install --no-build-isolation -e ."
        )
    return root


def simulator_folder() -> Path:
    """Where the simulator's library lies: beside the native module."""
    folder = Path(core().__file__).parent
    if not (folder / SIMULATOR_LIBRARY).exists():
        raise BackendUnavailableError(f"{SIMULATOR_LIBRARY} is not beside the native module in {folder}; build it anew")
    return folder


def copy_kernels(folder: Path) -> Path:
    """A scratch copy of op_kernel inside `folder`."""
    copy = folder / "op_kernel"
    shutil.copytree(checkout_root() / "op_kernel", copy)
    return copy


def apply_edits(copy: Path, edits: Iterable[Edit]) -> None:
    for edit in edits:
        path = copy / edit.file
        text = path.read_text()
        count = text.count(edit.old)
        if count != 1:
            raise EditError(f"{edit.file}: {edit.old!r} occurs {count} times; an edit must match exactly once")
        path.write_text(text.replace(edit.old, edit.new))


def compile_kernels(folder: Path, *flags: str) -> Path:
    """Compiles folder/op_kernel against the checkout's simulator headers; returns the library."""
    root = checkout_root()
    library = folder / "libkernels.so"
    sources = sorted(str(path) for path in (folder / "op_kernel").rglob("*.cpp"))
    # The copy comes first on the search path: sources may include one another from the repository's root.
    includes = [f"-I{folder}", f"-I{root}", f"-I{root / 'fastattention_npu' / 'sim' / 'ascendc'}"]
    command = [os.environ.get("CXX", "g++"), *FLAGS, *(flags or ("-O1",)), *includes, *sources, "-o", str(library)]
    command += [f"-L{simulator_folder()}", "-lascend_sim"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise EditError(f"the edited kernels do not compile:\n{done.stderr[-2000:]}")
    return library


def build_edited(folder: Path, edits: Iterable[Edit]) -> Path:
    """A library of the kernels with the edits applied. Unoptimised: compiling takes longer than small cases do."""
    apply_edits(copy_kernels(folder), edits)
    return compile_kernels(folder, "-O0")
