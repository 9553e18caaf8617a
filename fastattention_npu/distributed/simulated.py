"""The fused kernel on several simulated 910Bs in one process, joined by a model of HCCL's server.

Each rank's global memory is its tensors' own memory, as for the attention kernel (sim/launch.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._native import core
from ..arguments import DTYPE_NAMES
from ..config import SocConfig, TilingConfig, load_soc, load_tiling
from ..default_tilings import default_layer_tiling, layer_class
from ..dispatch import DEFAULT_SOC
from ..errors import ArgumentError, warn_of
from ..kernel_call import device_constants, extent_bytes
from ..sim.launch import default_threads

KERNEL = "attention_linear_allreduce"
SCRATCH = ("attention", "lse", "partial")  # GM that the kernel writes and nobody reads afterwards


@dataclass(frozen=True)
class RankInputs:
    """One rank's tensors: q (b, s, h, d) or (tokens, h, d), k and v likewise, w_o (hidden, h * d_v)."""

    q: Tensor
    k: Tensor
    v: Tensor
    w_o: Tensor


@dataclass(frozen=True)
class SimulatedRanks:
    """out of every rank, op_host's plan of rank 0 and the simulator's figures: time_us, compute_us, link_us,
    overlap_us, tasks (of the links), reports (of each rank). Times are simulated."""

    outputs: list[Tensor]
    plan: Mapping[str, Any]
    figures: Mapping[str, Any]

    def require_no_hazards(self) -> None:
        """SimulatorError if accesses raced, for then the outputs are a matter of luck."""
        if self.hazards:
            texts = "\n  ".join(self.hazards)
            raise core().SimulatorError(f"{len(self.hazards)} hazards, accesses that nothing orders:\n  {texts}")

    @property
    def hazards(self) -> list[str]:
        reports = enumerate(self.figures["reports"])
        return [f"rank {rank}: {text}" for rank, report in reports for text in report["hazard_texts"]]


def simulate_ranks(
    ranks: Sequence[RankInputs],
    bias: Tensor | None = None,
    *,
    softmax_scale: float | None = None,
    causal: bool = False,
    window: tuple[int, int] = (-1, -1),
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    max_seqlen_q: int = 0,
    max_seqlen_k: int = 0,
    blocks: Sequence[int] | None = None,
    tiles_per_step: int | None = None,
    soc: str | Path | SocConfig = DEFAULT_SOC,
    tiling: str | Path | TilingConfig | Mapping[str, int | str] | None = None,
    options: Mapping[str, Any] | None = None,
    stand_for: int | None = None,
) -> SimulatedRanks:
    """out = sum over ranks of Attn(q, k, v) · W_oᵀ + bias, by the fused kernel on simulated NPUs.

    Arguments:
        ranks: each rank's tensors, fp16 or bf16, contiguous CPU tensors.
        bias: (hidden,) of the same dtype; rank 0 adds it.
        softmax_scale, causal, window: as flash_attention; window is (left, right), negative for no limit.
        cu_seqlens_q, cu_seqlens_k: int32 (batch + 1,) with packed tensors (tokens, h, d); max_seqlen_*: the longest.
        blocks: tokens of each block; None: op_host's cost model chooses, a single block where cutting loses, or those
            that ship for just this layer and SoC (default_tilings.py) where nothing else is overridden.
        tiles_per_step: projection tiles between two level-1 blocks of attention; None: likewise.
        tiling: overrides of the attention tiling, as a file or a mapping; a file's token_blocks and tiles_per_step
            stand where the arguments are None.
        options: of the simulator: threads, checks, functional, kernel_library, listing, ...
        stand_for: with a single entry in `ranks`: how many ranks do the same at the same time (for times only).
    Returns:
        SimulatedRanks.
    Raises:
        ValueError: op_host has no plan, with its reasons. SimulatorError: the kernel did what the chip would refuse.
    Source:
        op_kernel/attention_linear_allreduce, docs/allreduce.md.
    """
    chosen = soc if isinstance(soc, SocConfig) else load_soc(soc)
    count = stand_for or len(ranks)
    plans = plan_ranks(
        ranks,
        bias,
        softmax_scale=softmax_scale,
        causal=causal,
        window=window,
        cu_seqlens_q=cu_seqlens_q,
        max_seqlen_q=max_seqlen_q,
        max_seqlen_k=max_seqlen_k,
        blocks=blocks,
        tiles_per_step=tiles_per_step,
        soc=chosen,
        tiling=tiling,
        count=count,
    )
    poison = bool((options or {}).get("functional", True))  # else nothing is written, and pages cost no memory
    outputs, operands, keep = [], [], []
    for rank, (inputs, plan) in enumerate(zip(ranks, plans, strict=True)):
        tensors = _tensors(inputs, bias if rank == 0 else None, plan, cu_seqlens_q is not None, poison)
        for name, lengths in (("cu_seqlens_q", cu_seqlens_q), ("cu_seqlens_k", cu_seqlens_k)):
            if lengths is not None:
                tensors[name] = lengths
        outputs.append(tensors["out"])
        keep.append(tensors)
        operands.append({name: (t.data_ptr(), extent_bytes(t)) for name, t in tensors.items()})
        mask = device_constants(plan["mask_block"], plan["mask"])
        operands[-1]["mask"] = (mask.ctypes.data, mask.nbytes)
    first = plans[0]
    figures = core().simulate_ranks(
        KERNEL,
        chosen.values(),
        [plan["tiling_bytes"] for plan in plans],
        first["block_dim"],
        operands,
        first["workspace_bytes"],
        {"threads": default_threads()} | dict(options or {}),
        count,
    )
    warn_of(f"rank {i}: {text}" for i, report in enumerate(figures["reports"]) for text in report["warning_texts"])
    shape = ranks[0].q.shape[:-2]
    return SimulatedRanks([out.view(*shape, out.size(-1)) for out in outputs], first, figures)


def plan_ranks(
    ranks: Sequence[RankInputs],
    bias: Tensor | None,
    *,
    count: int,
    soc: SocConfig,
    tiling: str | Path | TilingConfig | Mapping[str, int | str] | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window: tuple[int, int] = (-1, -1),
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    max_seqlen_q: int = 0,
    max_seqlen_k: int = 0,
    blocks: Sequence[int] | None = None,
    tiles_per_step: int | None = None,
) -> list[dict[str, Any]]:
    """op_host's plan of each rank, of `count`, and under `chosen_by` what it started from; looks at the tensors' sizes
    only. cu_seqlens_k is taken because a call
    of simulate_ranks has it: max_seqlen_k says all of it that a plan needs."""
    if tiling is not None and not isinstance(tiling, (Mapping, TilingConfig)):
        tiling = load_tiling(tiling)
    problems = [
        rank_problem(inputs, softmax_scale, causal, window, cu_seqlens_q, max_seqlen_q, max_seqlen_k)
        for inputs in ranks
    ]
    sizes = [inputs.w_o.size(0) for inputs in ranks]
    chosen_by = "op_host"
    if tiling is None and blocks is None and tiles_per_step is None:
        layers = zip(problems, sizes, strict=True)
        classes = {layer_class(problem, hidden, count, bias is not None) for problem, hidden in layers}
        tiling = default_layer_tiling(classes.pop(), soc.name) if len(classes) == 1 else None
        if tiling is not None:
            chosen_by = f"op_host from the shipped {soc.name}/allreduce/{Path(tiling.source).stem}"
    elif isinstance(tiling, TilingConfig) and tiling.source:
        chosen_by = f"op_host from {tiling.source}"
    given = dict(tiling.fused) if isinstance(tiling, TilingConfig) else {}
    arguments = {"token_blocks": blocks, "tiles_per_step": tiles_per_step}
    given |= {key: value for key, value in arguments.items() if value is not None}
    overrides = dict(tiling.fields if isinstance(tiling, TilingConfig) else tiling or {})
    plans = []
    for rank, (problem, hidden) in enumerate(zip(problems, sizes, strict=True)):
        fused: dict[str, Any] = {"hidden": hidden, "ranks": count, "has_bias": bias is not None and rank == 0}
        if "token_blocks" in given:
            fused["blocks"] = list(given["token_blocks"])
        if "tiles_per_step" in given:
            fused["tiles_per_step"] = given["tiles_per_step"]
        try:
            plan = core().plan_fused(problem, fused, soc.values(), overrides)
        except ValueError as error:
            raise ArgumentError(str(error)) from error
        plans.append(plan | {"chosen_by": chosen_by})
    return plans


def rank_problem(
    inputs: RankInputs,
    softmax_scale: float | None = None,
    causal: bool = False,
    window: tuple[int, int] = (-1, -1),
    cu_seqlens_q: Tensor | None = None,
    max_seqlen_q: int = 0,
    max_seqlen_k: int = 0,
) -> dict[str, Any]:
    """One rank's attention in op_host's words."""
    q, k, v = inputs.q, inputs.k, inputs.v
    problem: dict[str, Any] = {
        "h_q": q.size(-2),
        "h_kv": k.size(-2),
        "d": q.size(-1),
        "d_v": v.size(-1),
        "dtype": DTYPE_NAMES[q.dtype],
        "causal": causal,
        "window_left": window[0],
        "window_right": window[1],
        "softmax_scale": softmax_scale,
    }
    if cu_seqlens_q is None:
        return problem | {"b": q.size(0), "s_q": q.size(1), "s_kv": k.size(1)}
    packed = {"has_cu_seqlens": True, "total_q": q.size(0), "layout": "TND", "b": cu_seqlens_q.numel() - 1}
    return problem | packed | {"s_q": max_seqlen_q, "s_kv": max_seqlen_k}


def _tensors(
    inputs: RankInputs, bias: Tensor | None, plan: Mapping[str, Any], packed: bool, poison: bool
) -> dict[str, Tensor]:
    """The kernel's operands but for those that do not depend on the rank; poison: fills outputs with NaN."""
    q, v = inputs.q, inputs.v
    tokens = q.size(0) if packed else q.size(0) * q.size(1)
    hidden = inputs.w_o.size(0)
    sizes = {
        "attention": (tokens, q.size(-2) * v.size(-1)),
        "partial": (tokens, hidden),
        "out": (tokens, hidden),
    }
    tensors = {name: torch.empty(shape, dtype=q.dtype) for name, shape in sizes.items()}
    tensors["lse"] = torch.empty(q.size(-2) * tokens)
    if poison:
        for tensor in tensors.values():
            tensor.fill_(torch.nan)
    tensors |= {"q": q, "k": inputs.k, "v": v, "weight": inputs.w_o}
    tensors = {name: tensor if name in sizes else tensor.contiguous() for name, tensor in tensors.items()}
    if bias is not None:
        tensors["bias"] = torch.cat([bias, bias.new_ones(plan["block_q"])])
    return tensors
