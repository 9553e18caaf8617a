"""The embedded simulator of the Ascend 910B: the kernels that CANN compiles, run instruction by instruction.

Python front only; the machine is C++ (machine/, isa/, ascendc/) behind the native module. Its figures are simulated.
"""

from pathlib import Path
from typing import Any, Literal, overload

from torch import Tensor

from ..arguments import check_arguments
from ..config import SocConfig, TilingConfig
from ..dispatch import DEFAULT_SOC, make_backend
from ..kernel_call import plan_problem
from ..options import Options
from .launch import SimReport, launch_flash_attention

__all__ = ["SimReport", "flash_attention", "plan_problem"]


@overload
def flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    soc: str | Path | SocConfig = ...,
    tiling: str | Path | TilingConfig | None = ...,
    threads: int | None = ...,
    checks: bool = ...,
    return_report: Literal[False] = ...,
    **options: Any,
) -> tuple[Tensor, Tensor]: ...


@overload
def flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    soc: str | Path | SocConfig = ...,
    tiling: str | Path | TilingConfig | None = ...,
    threads: int | None = ...,
    checks: bool = ...,
    return_report: Literal[True],
    **options: Any,
) -> tuple[Tensor, Tensor, SimReport]: ...


def flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    soc: str | Path | SocConfig = DEFAULT_SOC,
    tiling: str | Path | TilingConfig | None = None,
    threads: int | None = None,
    checks: bool = True,
    return_report: bool = False,
    **options: Any,
) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, SimReport]:
    """O = softmax(softmax_scale · Q Kᵀ + mask) V on the simulated NPU.

    Arguments:
        q, k, v, options: as torch.ops.fastattn.flash_attention, options by name; CPU tensors, fp16 or bf16.
        soc, tiling: name or path of a file of configs/soc and configs/tiling; tiling None: op_host chooses.
        threads: CPU threads of the simulator; None: all. The result has the same bits for any number.
        checks: whether the simulator looks for races and reads of memory that nobody wrote.
        return_report: also return the SimReport.
    Returns:
        (O, lse), with return_report (O, lse, report).
    Raises:
        ArgumentError, ConfigError: every reason at once; op_host's too, if it finds no plan.
        SimulatorError (a RuntimeError): the kernel did what the chip would refuse, or, without return_report, accesses
            raced; the text says where.
        SimulatorWarning, as a warning: what the chip may let pass and may not.
    Limits:
        The row `sim` of fastattention_npu.limits.TABLE.
    Source:
        op_kernel/flash_attention.
    """
    backend = make_backend("sim", soc=soc, tiling=tiling, threads=threads, checks=checks)
    chosen = Options.from_names(options, "sim.flash_attention")
    problem = check_arguments(q, k, v, chosen, "sim")
    result = launch_flash_attention(q, k, v, chosen, problem, backend)
    return (*result.outputs, result.report) if return_report else result.outputs_without_hazards()
