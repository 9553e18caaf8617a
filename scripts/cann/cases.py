"""A case on disk, as run_case.cpp reads it, and the judgement of what came out.

A case is a shape file. The embedded simulator gives the expected cycles of every pipe, float64 the expected result.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastattention_npu import _native, backends, reference
from fastattention_npu.arguments import TORCH_DTYPES
from fastattention_npu.config import ShapeConfig, load_shape
from fastattention_npu.dispatch import Backend, make_backend
from fastattention_npu.kernel_call import KERNEL, device_constants

CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    shape: ShapeConfig
    backend: Backend
    arguments: Mapping[str, Any]
    plan: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.shape.name


def load(path: Path, soc: str) -> Case:
    """soc: as CANN names it; Ascend910B1 is configs/soc/ascend910b1.yaml."""
    shape = load_shape(path)
    if shape.layout != "bshd":
        raise ValueError(f"{path}: layout = {shape.layout}: must be bshd, the layout that run_case writes")
    backend = make_backend("sim", soc=soc.lower())
    arguments = backends.make_inputs(shape)
    if arguments.get("attn_mask") is not None:
        raise ValueError(f"{path}: attn_mask: must be left out; run_case reads no mask tensor")
    return Case(shape, backend, arguments, backends.plan_shape(shape, backend))


def write(case: Case, folder: Path) -> None:
    """Fills the folder with case.txt, the tiling and every input."""
    folder.mkdir(parents=True, exist_ok=True)
    tiling = case.plan["tiling"]
    constants = device_constants(tiling["mask_block"], tiling["mask"])
    files = {"tiling": case.plan["tiling_bytes"], "mask": constants.tobytes()}
    operands = _native.core().kernels()[KERNEL]["operands"]
    given = {name: case.arguments.get(name) for name in operands}
    files |= {name: raw_bytes(x) for name, x in given.items() if isinstance(x, Tensor)}
    for name, content in files.items():
        (folder / f"{name}.bin").write_bytes(content)
    lines = [f"kernel {KERNEL}", f"block_dim {case.plan['block_dim']}", "tiling tiling.bin"]
    outputs = output_shapes(case.shape)
    for name in operands:
        if name in files:
            lines.append(f"in {name}.bin")
        elif name in outputs:
            lines.append(f"out {name}.bin {outputs[name][0].numel() * outputs[name][1].itemsize}")
        elif name == "workspace" and case.plan["workspace_bytes"]:
            lines.append(f"scratch {case.plan['workspace_bytes']}")
        else:
            lines.append("absent")
    (folder / "case.txt").write_text("\n".join(lines) + "\n")


def raw_bytes(x: Tensor) -> bytes:
    return x.contiguous().view(torch.uint8).numpy().tobytes()


def output_shapes(shape: ShapeConfig) -> dict[str, tuple[torch.Size, torch.dtype]]:
    o = torch.Size((shape.b, shape.s_q, shape.h_q, shape.head_dim_v))
    return {
        "o": (o, TORCH_DTYPES[shape.dtype]),
        "lse": (torch.Size((shape.b, shape.h_q, shape.s_q)), torch.float32),
    }


def judge(case: Case, folder: Path) -> list[str]:
    """What is wrong with the outputs in the folder; empty if nothing is."""
    wrong = []
    exact = dict(zip(("o", "lse"), reference.attention_float64(**case.arguments), strict=True))
    same = dict(zip(("o", "lse"), reference.attention_same_precision(**case.arguments), strict=True))
    for name, (shape, dtype) in output_shapes(case.shape).items():
        path = folder / f"{name}.bin"
        if not path.exists():
            wrong.append(f"{name}: was not written")
            continue
        raw = torch.from_numpy(np.frombuffer(path.read_bytes(), np.uint8).copy())
        if raw.numel() != shape.numel() * dtype.itemsize:
            wrong.append(f"{name}: {raw.numel()} bytes, expected {shape.numel() * dtype.itemsize}")
            continue
        found = reference.check(raw.view(dtype).view(shape), exact[name], same[name])
        wrong += [f"{name}: {text}" for text in found.reasons]
    return wrong


def embedded_cycles(case: Case) -> dict[str, int]:
    """kind.pipe -> busy cycles, by the embedded simulator."""
    figures = backends.run(case.shape, case.backend).figures
    return {pipe: round(share * figures["cycles"]) for pipe, share in figures["pipe_busy"].items()}
