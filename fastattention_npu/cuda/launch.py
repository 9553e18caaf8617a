"""Loaded kernels by instance and device, and the rule that says what is compiled for a device.

Stage: instance -> Kernel. On Volta and Turing themselves the cached file is machine code; on a newer card (tests, or a
forced choice) it is PTX, which the driver compiles and caches by itself.
"""

from __future__ import annotations

import functools

import torch

from . import cache, driver, instances


def binary(instance: instances.Instance, number: int) -> bytes:
    """Machine code for a card of that very compute capability, PTX for any newer one."""
    native = number == instance.arch or (instance.arch == 70 and number == 72)
    return cache.get(instance.source(), instances.headers(), instance.arch, cubin=native)


@functools.cache
def multiprocessors(device: int) -> int:
    """Of that device."""
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


@functools.cache
def capability(device: int) -> tuple[int, int]:
    """Compute capability of that device."""
    return torch.cuda.get_device_capability(device)


@functools.cache
def kernel(instance: instances.Instance, device: int) -> driver.Kernel:
    """The loaded kernel; the device must be current."""
    major, minor = capability(device)
    return driver.Kernel(binary(instance, major * 10 + minor), instance.name, instance.shared_bytes)
