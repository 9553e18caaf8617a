"""torch.ops.fastattn: schema, fake, autograd and dispatch of the attention operator.

Checks are arguments.py's, what each backend takes is limits.py's, arithmetic is host.py's for CPU tensors, the
simulated NPU's (sim/) inside backend("sim"), the GPU kernels' (cuda/) for CUDA tensors, the NPU's (npu/) for NPU
tensors; this file only wires them up.
"""

from typing import Any, NoReturn

import torch
from torch import Tensor

from . import cache_ops, host  # noqa: F401  (cache_ops defines the cache's operator)
from .arguments import DEVICE_BACKENDS, Problem, check_arguments
from .dispatch import current_backend
from .library import LIBRARY, TAGS
from .options import Options, schema

FLASH_ATTENTION = "fastattn::flash_attention"
OTHER_KEYS = ("XPU", "MPS", "SparseCPU", "SparseCsrCPU")  # without a kernel: refused in our words

# The last stride may have to be 1, so a compiler may not choose other strides.
LIBRARY.define(f"flash_attention(Tensor q, Tensor k, Tensor v, {schema()}) -> (Tensor out, Tensor lse)", tags=TAGS)


def backend_of(q: Tensor) -> str:
    """The backend that serves a call: by device, and for CPU tensors (meta ones too) by dispatch.py."""
    return DEVICE_BACKENDS.get(q.device.type) or current_backend().name


def _check(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Problem:
    return check_arguments(q, k, v, options, backend_of(q))


def _flash_attention_fake(q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    p = _check(q, k, v, Options(*args, **kwargs))
    return q.new_empty(p.out_shape), q.new_empty(p.lse_shape, dtype=torch.float32)


def _flash_attention_cpu(q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    options = Options(*args, **kwargs)
    p = _check(q, k, v, options)
    backend = current_backend()
    if backend.name == "sim":
        from .sim.launch import launch_flash_attention

        return launch_flash_attention(q, k, v, options, p, backend).outputs_without_hazards()
    return host.attention(q, k, v, options, p)


def _flash_attention_cuda(q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    from .cuda.operator import attention

    options = Options(*args, **kwargs)
    return attention(q, k, v, options, _check(q, k, v, options))


def _flash_attention_npu(q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    options = Options(*args, **kwargs)
    p = _check(q, k, v, options)  # before anything of npu/, for PrivateUse1 may be another device
    from .npu.launch import launch_flash_attention

    return launch_flash_attention(q, k, v, options, p, current_backend())


def _flash_attention_elsewhere(q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> NoReturn:
    _check(q, k, v, Options(*args, **kwargs))
    raise AssertionError(f"no kernel is registered for {q.device}, yet the checks allow it")


def _keep_absent_grads(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)  # no zeros for lse's, which would be an operator of the device's


def _flash_attention_backward(ctx: Any, *grads: Tensor) -> NoReturn:
    raise NotImplementedError(
        "the backward of fastattn::flash_attention is not implemented: call it under torch.no_grad(), detach its "
        "inputs, or use torch.nn.functional.scaled_dot_product_attention for training"
    )


LIBRARY.impl("flash_attention", _flash_attention_cpu, "CPU")
LIBRARY.impl("flash_attention", _flash_attention_cuda, "CUDA")
LIBRARY.impl("flash_attention", _flash_attention_npu, "PrivateUse1")
for _key in OTHER_KEYS:
    LIBRARY.impl("flash_attention", _flash_attention_elsewhere, _key)
torch.library.register_fake(FLASH_ATTENTION, _flash_attention_fake, lib=LIBRARY)
torch.library.register_autograd(
    FLASH_ATTENTION, _flash_attention_backward, setup_context=_keep_absent_grads, lib=LIBRARY
)
