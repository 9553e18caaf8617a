"""FlashAttention for Ascend 910B, with an embedded simulator of the chip.

Importing this package defines torch.ops.fastattn.*. Everything else that is public stands in __all__; what needs the
native module or a configuration file loads it on first use.
"""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

from . import _autoload, ops  # noqa: F401  (_autoload comes before anything that imports torch)
from .dispatch import backend, current_backend
from .errors import ArgumentError, BackendUnavailableError, ConfigError, SimulatorWarning
from .flash_attn import (
    flash_attn_func,
    flash_attn_kvpacked_func,
    flash_attn_qkvpacked_func,
    flash_attn_varlen_func,
    flash_attn_varlen_kvpacked_func,
    flash_attn_varlen_qkvpacked_func,
)
from .flash_attn_cache import flash_attn_with_kvcache

if TYPE_CHECKING:
    from . import backends, reference, sim

try:
    __version__ = metadata.version("fastattention-npu")
except metadata.PackageNotFoundError:  # imported from a checkout that was never installed
    __version__ = "0+unknown"

__all__ = [
    "ArgumentError",
    "BackendUnavailableError",
    "ConfigError",
    "SimulatorWarning",
    "__version__",
    "backend",
    "backends",
    "current_backend",
    "flash_attn_func",
    "flash_attn_kvpacked_func",
    "flash_attn_qkvpacked_func",
    "flash_attn_varlen_func",
    "flash_attn_varlen_kvpacked_func",
    "flash_attn_varlen_qkvpacked_func",
    "flash_attn_with_kvcache",
    "ops",
    "reference",
    "sim",
]

_LAZY = ("backends", "reference", "sim")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
