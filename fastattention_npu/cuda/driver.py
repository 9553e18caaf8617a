"""The CUDA driver API through ctypes: loading a binary and launching its kernel on torch's current stream.

Stage: binary -> launch. torch owns the context and the memory; this file only adds modules to that context.
"""

from __future__ import annotations

import ctypes
import functools

Dim3 = tuple[int, int, int]
MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


class DriverError(RuntimeError):
    """The CUDA driver refused a call."""


@functools.cache
def library() -> ctypes.CDLL:
    """libcuda, from the driver's installation."""
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise DriverError(f"the CUDA driver library libcuda.so.1 cannot be loaded: {error}") from error


def _check(status: int, what: str) -> None:
    if status == 0:
        return
    text = ctypes.c_char_p()
    library().cuGetErrorString(status, ctypes.byref(text))
    raise DriverError(f"{what}: {(text.value or b'unknown error').decode()} (CUresult {status})")


class Kernel:
    """One kernel of one module, in the current context."""

    def __init__(self, binary: bytes, name: str, shared_bytes: int) -> None:
        self._binary = binary  # PTX must end in a zero byte, which NVRTC's output does
        self._module = ctypes.c_void_p()
        self._function = ctypes.c_void_p()
        self.shared_bytes = shared_bytes
        lib = library()
        _check(lib.cuModuleLoadData(ctypes.byref(self._module), self._binary), f"loading {name}")
        _check(lib.cuModuleGetFunction(ctypes.byref(self._function), self._module, b"fa_kernel"), f"finding {name}")
        if shared_bytes > 48 * 1024:
            _check(
                lib.cuFuncSetAttribute(self._function, MAX_DYNAMIC_SHARED, shared_bytes),
                f"{name} needs {shared_bytes} bytes of shared memory a block",
            )

    def attribute(self, which: int) -> int:
        """cuFuncGetAttribute: 3 local bytes a thread, 4 registers a thread."""
        value = ctypes.c_int()
        _check(library().cuFuncGetAttribute(ctypes.byref(value), which, self._function), "reading an attribute")
        return value.value

    def launch(self, grid: Dim3, block: Dim3, params: ctypes.Structure, stream: int) -> None:
        """Enqueue a grid; params is copied before this returns."""
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(params))
        status = library().cuLaunchKernel(
            self._function, *grid, *block, self.shared_bytes, ctypes.c_void_p(stream), arguments, None
        )
        _check(status, "launching an attention kernel")


WAIT_AT_LEAST = 0  # CU_STREAM_WAIT_VALUE_GEQ: cyclic, (int)(value there - value) >= 0


def copy_async(target: int, source: int, count_bytes: int, stream: int) -> None:
    """Enqueue a copy between device addresses, a peer's among them; the copy engines do it."""
    status = library().cuMemcpyDtoDAsync_v2(
        ctypes.c_uint64(target), ctypes.c_uint64(source), ctypes.c_size_t(count_bytes), ctypes.c_void_p(stream)
    )
    _check(status, f"copying {count_bytes} bytes")


def write_value(address: int, value: int, stream: int) -> None:
    """Enqueue a 32-bit store, behind all that the stream has done before it; takes no multiprocessor."""
    status = library().cuStreamWriteValue32_v2(
        ctypes.c_void_p(stream), ctypes.c_uint64(address), ctypes.c_uint32(value & 0xFFFFFFFF), 0
    )
    _check(status, "writing a value in stream order")


def wait_value(address: int, value: int, stream: int) -> None:
    """Enqueue a wait until the 32-bit counter there is at least `value`; takes no multiprocessor."""
    status = library().cuStreamWaitValue32_v2(
        ctypes.c_void_p(stream), ctypes.c_uint64(address), ctypes.c_uint32(value & 0xFFFFFFFF), WAIT_AT_LEAST
    )
    _check(status, "waiting for a value in stream order")
