"""Loaded kernels by instance and device, and the rule that says what is compiled for a device.

Stage: instance -> Kernel. On Volta and Turing themselves the cached file is machine code; on a newer card (tests, or a
forced choice) it is PTX, which the driver compiles and caches by itself.
"""

from __future__ import annotations

import functools

import torch

from . import cache, driver, instances


def binary(instance: instances.Instance, capability: int) -> bytes:
    """Machine code for a card of that very compute capability, PTX for any newer one."""
    native = capability == instance.arch or (instance.arch == 70 and capability == 72)
    return cache.get(instance.source(), instances.headers(), instance.arch, cubin=native)


@functools.cache
def kernel(instance: instances.Instance, device: int) -> driver.Kernel:
    """The loaded kernel; the device must be current."""
    major, minor = torch.cuda.get_device_capability(device)
    return driver.Kernel(binary(instance, major * 10 + minor), instance.name, instance.shared_bytes)
