"""torch.ops.fastattn: schema, fake, autograd and host implementation of each operator, side by side.

Checks are arguments.py's, arithmetic is the native CPU kernel's (cpu/), where it is missing or a head is too
long cpu_attention.py's, or the simulated NPU's (sim/); this file only wires them up.
"""

import math
from typing import Any, NoReturn

import torch
from torch import Tensor

from . import _native, cpu, layouts
from .arguments import Problem, check_arguments, check_seqused_values
from .cpu_attention import attention
from .dispatch import current_backend

FLASH_ATTENTION = "fastattn::flash_attention"
OTHER_DEVICES = ("CUDA", "PrivateUse1", "XPU", "MPS")  # dispatch keys without a kernel: refused in our words

_library = torch.library.Library("fastattn", "DEF")
_library.define(
    "flash_attention(Tensor q, Tensor k, Tensor v, float? softmax_scale=None, bool causal=False, "
    "Tensor? seqused_k=None, str layout='bshd', int? head_dim=None) -> (Tensor out, Tensor lse)",
    # The last stride must be 1, so a compiler may not choose other strides.
    tags=(torch.Tag.pt2_compliant_tag, torch.Tag.needs_fixed_stride_order),
)


def _new_outputs(q: Tensor, p: Problem) -> tuple[Tensor, Tensor]:
    out = q.new_empty(layouts.shape_of(p.layout, p.b, p.s_q, p.h_q, p.d))
    return out, q.new_empty((p.b, p.h_q, p.s_q), dtype=torch.float32)


def _flash_attention_fake(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    softmax_scale: float | None = None,
    causal: bool = False,
    seqused_k: Tensor | None = None,
    layout: str = "bshd",
    head_dim: int | None = None,
) -> tuple[Tensor, Tensor]:
    backend = current_backend()
    return _new_outputs(q, check_arguments(q, k, v, softmax_scale, seqused_k, layout, head_dim, backend.name))


def _flash_attention_cpu(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    softmax_scale: float | None = None,
    causal: bool = False,
    seqused_k: Tensor | None = None,
    layout: str = "bshd",
    head_dim: int | None = None,
) -> tuple[Tensor, Tensor]:
    backend = current_backend()
    p = check_arguments(q, k, v, softmax_scale, seqused_k, layout, head_dim, backend.name)
    if backend.name == "sim":
        from .sim.launch import launch_flash_attention

        launch = launch_flash_attention(q, k, v, p, softmax_scale, causal, seqused_k, backend)
        return launch.outputs_without_hazards()
    if seqused_k is not None:
        check_seqused_values(seqused_k, p.s_kv)
    out, lse = _new_outputs(q, p)
    q, k, v, o = (layouts.as_bshd(x, p.layout, p.d) for x in (q, k, v, out))  # (b, s, h, d) each
    if p.d <= cpu.MAX_HEAD_DIM and _native.is_available():
        _, lse_ = cpu.forward(q, k, v, softmax_scale=softmax_scale, causal=causal, seqused_k=seqused_k, out=o)
        assert lse_ is not None, "cpu.forward computes lse unless told otherwise"
        return out, lse_
    counts = [p.s_kv] * p.b if seqused_k is None else seqused_k.tolist()
    scale = 1.0 / math.sqrt(p.d) if softmax_scale is None else softmax_scale
    attention(q, k, v, o, lse, scale=scale, causal=causal, counts=counts)
    return out, lse


def _flash_attention_elsewhere(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    softmax_scale: float | None = None,
    causal: bool = False,
    seqused_k: Tensor | None = None,
    layout: str = "bshd",
    head_dim: int | None = None,
) -> NoReturn:
    check_arguments(q, k, v, softmax_scale, seqused_k, layout, head_dim, "cpu")
    raise AssertionError(f"no kernel is registered for {q.device}, yet the checks allow it")


def _flash_attention_backward(ctx: Any, *grads: Tensor) -> NoReturn:
    raise NotImplementedError(
        "the backward of fastattn::flash_attention is not implemented: call it under torch.no_grad(), detach its "
        "inputs, or use torch.nn.functional.scaled_dot_product_attention for training"
    )


_library.impl("flash_attention", _flash_attention_cpu, "CPU")
for _key in OTHER_DEVICES:
    _library.impl("flash_attention", _flash_attention_elsewhere, _key)
torch.library.register_fake(FLASH_ATTENTION, _flash_attention_fake, lib=_library)
torch.library.register_autograd(FLASH_ATTENTION, _flash_attention_backward, lib=_library)
