"""Loaded kernels by instance and device, and the rule that says what is compiled for a device.

Stage: instance -> Kernel. On Volta and Turing themselves the cached file is machine code; on a newer card (tests, or a
forced choice) it is PTX, which the driver compiles and caches by itself.
"""

from __future__ import annotations

import functools
from typing import Protocol

import torch

from . import cache, driver, instances


class Instance(Protocol):
    """What the instances of all kernels have in common."""

    @property
    def arch(self) -> int: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def threads(self) -> int: ...  # noqa: D102
    @property
    def shared_bytes(self) -> int: ...  # noqa: D102
    def source(self) -> str: ...  # noqa: D102


def binary(instance: Instance, capability: int) -> bytes:
    """Machine code for a card of that very compute capability, PTX for any newer one."""
    native = capability == instance.arch or (instance.arch == 70 and capability == 72)
    return cache.get(instance.source(), instances.headers(), instance.arch, cubin=native)


@functools.cache
def kernel(instance: Instance, device: int) -> driver.Kernel:
    """The loaded kernel; the device must be current."""
    major, minor = torch.cuda.get_device_capability(device)
    return driver.Kernel(binary(instance, major * 10 + minor), instance.name, instance.shared_bytes)
