"""Keeps an installed torch_npu from breaking `import torch` on a machine without CANN. Must not import torch.

`import torch` imports every installed device backend, and torch_npu cannot be imported without CANN's libraries: the
failure then is that of `import torch`. Where this package is imported first it switches the automatism off, with a
warning; where torch is imported first, only TORCH_DEVICE_BACKEND_AUTOLOAD=0 helps (docs/ascend_host.md).
"""

import ctypes
import os
import sys
import warnings
from importlib.util import find_spec

VARIABLE = "TORCH_DEVICE_BACKEND_AUTOLOAD"
RUNTIME = "libascendcl.so"


def guard() -> None:
    """Sets the variable to 0 if `import torch` would fail otherwise."""
    if "torch" in sys.modules or VARIABLE in os.environ or find_spec("torch_npu") is None:
        return
    try:
        ctypes.CDLL(RUNTIME)
    except OSError as error:
        os.environ[VARIABLE] = "0"
        warnings.warn(
            f"torch_npu is installed, but CANN's runtime cannot be loaded ({error}), so torch goes without the NPU: "
            f"source CANN's set_env.sh, or run under fastattn npu-sim; {VARIABLE}=0 silences this",
            RuntimeWarning,
            stacklevel=2,
        )


guard()
