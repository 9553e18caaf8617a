"""Instruction-set targets of the native kernels: which exist here, which runs, and forcing one for a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastattention_npu._native import core


def targets() -> list[str]:
    """Targets that this build and this processor offer, best first ("avx512", "avx2", "neon", "portable")."""
    return list(core().cpu_targets())


def active_target() -> str:
    """The target that the next call runs on."""
    return str(core().cpu_active_target())


def has_highway() -> bool:
    """Whether Google Highway was found at build time; without it only the slower "portable" target exists."""
    return bool(core().cpu_has_highway())


@contextmanager
def forced_target(name: str) -> Iterator[None]:
    """Run the block on one of `targets()`. Process-wide: for tests and benchmarks. ValueError if it is not there."""
    core().cpu_force_target(name)
    try:
        yield
    finally:
        core().cpu_force_target("")
