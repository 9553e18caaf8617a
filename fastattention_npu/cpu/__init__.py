"""Native CPU attention for x86-64 and aarch64: what torch.ops.fastattn.flash_attention runs for CPU tensors.

`forward` is the general call, `decode` the paged or contiguous cache call with one pass over K and V per GQA group.
"""

from .attention import MAX_HEAD_DIM, PreparedDecode, attend, decode, forward
from .bandwidth import read_bandwidth_gbps
from .targets import active_target, forced_target, has_highway, targets

__all__ = [
    "MAX_HEAD_DIM",
    "PreparedDecode",
    "active_target",
    "attend",
    "decode",
    "forced_target",
    "forward",
    "has_highway",
    "read_bandwidth_gbps",
    "targets",
]
