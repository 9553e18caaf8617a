"""The operator on CPU tensors: the native kernel (cpu/), and PyTorch where that is not built or a head is too long."""

import torch
from torch import Tensor

from . import _native, cpu, torch_attention
from .argument_values import check_values
from .arguments import Problem
from .options import Options


def attention(q: Tensor, k: Tensor, v: Tensor, options: Options, p: Problem) -> tuple[Tensor, Tensor]:
    """(O, lse) of checked arguments."""
    check_values(k, options, p)
    out = q.new_empty(p.out_shape)
    lse = q.new_empty(p.lse_shape, dtype=torch.float32)
    if max(p.d, p.d_v) <= cpu.MAX_HEAD_DIM and _native.is_available():
        cpu.attend(q, k, v, options, p, out, lse)
    else:
        torch_attention.attend(q, k, v, options, p, out, lse, dtype=torch.float32)
    return out, lse
