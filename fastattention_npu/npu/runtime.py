"""What runs the kernels on this machine's NPU: the library with them, whether it is real, and the SoC's description."""

import ctypes
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from .._native import core
from ..config import SocConfig, load_soc
from ..errors import BackendUnavailableError
from ..yaml_file import config_names

KERNELS = "libfastattn_npu.so"  # CANN's build of op_kernel, beside the native module
SIMULATED = "embedded simulator"  # what fastattn_npu_runner of the stand-in says


@dataclass(frozen=True)
class Runtime:
    """library: provides launch_abi.h. runner: npu, sim or cpu (CANN's run modes), or the embedded simulator."""

    library: str
    runner: str

    @property
    def simulated(self) -> bool:
        return self.runner != "npu"


@cache
def runtime() -> Runtime:
    """The library that launches kernels in this process; raises BackendUnavailableError if there is none."""
    stand_in = stand_in_library()
    library = stand_in or kernels_library()
    if library is None:
        raise BackendUnavailableError(
            f"this installation holds no kernels for the NPU: {KERNELS} was not built, because there was no CANN; "
            "source CANN's set_env.sh, which sets ASCEND_HOME_PATH, and install the package again with pip install ."
        )
    try:
        loaded = ctypes.CDLL(library)
    except OSError as error:
        raise BackendUnavailableError(
            f"the kernels' library cannot be loaded: {error}; source CANN's set_env.sh"
        ) from error
    loaded.fastattn_npu_runner.restype = ctypes.c_char_p
    return Runtime(library, loaded.fastattn_npu_runner().decode())


def kernels_library() -> str | None:
    path = Path(core().__file__).parent / KERNELS
    return str(path) if path.exists() else None


def stand_in_folder() -> Path:
    """The folder of the stand-in CANN libraries."""
    return Path(core().__file__).parent / "npu_sim"


def stand_in_library() -> str | None:
    """The stand-in libascendcl, if it is what this process has loaded."""
    library = (stand_in_folder() / "libascendcl.so").resolve()
    maps = Path("/proc/self/maps")
    # /proc says what the dynamic linker chose; the search path only says what it might have.
    loaded = maps.exists() and str(library) in maps.read_text(encoding="utf-8", errors="replace")
    return str(library) if loaded else None


def is_stand_in() -> bool:
    return stand_in_library() is not None


@cache
def soc_of_device(index: int) -> SocConfig:
    """The description of a device's SoC, found by the name that the runtime gives: Ascend910B2 is ascend910b2."""
    name = torch.get_device_module("npu").get_device_name(index)
    known = [x for x in config_names("soc") if x.startswith("ascend")]
    # A longer name is a variant of the same chip: Ascend910B2C.
    match = max((x for x in known if name.lower().startswith(x)), key=len, default=None)
    if match is None:
        raise BackendUnavailableError(
            f"npu:{index} is a {name}, and configs/soc describes {', '.join(known)} only; describe it in a file and "
            "name that: with fastattention_npu.backend('npu', soc=FILE)"
        )
    return load_soc(match)


def soc_name_for_runtime(soc: SocConfig) -> str:
    """The name by which CANN knows a SoC of configs/soc: ascend910b2 is Ascend910B2."""
    return "Ascend" + soc.name.removeprefix("ascend").upper()


def require_torch_npu() -> None:
    if not hasattr(torch, "npu"):
        hint = "import torch_npu before the call"
        if os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD") == "0":
            hint += " (TORCH_DEVICE_BACKEND_AUTOLOAD=0 keeps torch from doing so)"
        raise BackendUnavailableError(f"torch has no NPU device: {hint}")
