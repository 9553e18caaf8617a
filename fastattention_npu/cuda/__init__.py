"""Attention on NVIDIA GPUs: kernels for Volta and Turing, compiled at run time, and PyTorch's own on newer cards.

`forward` and `decode` are the calls, `operator` is torch.ops.fastattn on CUDA tensors; `describe` says which kernels
the card gets. Reading order: api, dispatch, prefill, decoding, instances, then kernels/prefill.cuh and the two operand
layers beside it.
"""

from .api import decode, forward
from .dispatch import Choice, Problem, choose, describe
from .nvrtc import NvrtcError

__all__ = ["Choice", "NvrtcError", "Problem", "choose", "decode", "describe", "forward"]
