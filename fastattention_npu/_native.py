"""The one place that imports the native module `_core`, so that its absence is one clear error where it is needed.

`_core` holds the tiler (op_host), the embedded simulator and the CPU kernel; without it CPU tensors go through PyTorch.
"""

from functools import cache
from typing import Any

from .errors import BackendUnavailableError

REMEDY = "install the package with pip, or from a checkout run: pip install --no-build-isolation -e ."


@cache
def core() -> Any:
    """The module `fastattention_npu._core`."""
    try:
        from . import _core
    except ImportError as error:
        raise BackendUnavailableError(
            f"the native module fastattention_npu._core (tiler and simulator) cannot be loaded: {error}; {REMEDY}"
        ) from error
    return _core


def is_available() -> bool:
    try:
        core()
    except BackendUnavailableError:
        return False
    return True
