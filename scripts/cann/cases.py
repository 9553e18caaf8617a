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
from fastattention_npu.arguments import check_arguments
from fastattention_npu.config import ShapeConfig, load_shape
from fastattention_npu.dispatch import Backend, make_backend
from fastattention_npu.kernel_call import KERNEL, KernelCall, extent_bytes, make_call
from fastattention_npu.options import Options
from fastattention_npu.sim.launch import fill_behind_sequences

CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """arguments: of the operator. call: the launch that it comes to, over empty outputs."""

    shape: ShapeConfig
    backend: Backend
    arguments: Mapping[str, Any]
    options: Options
    call: KernelCall

    @property
    def name(self) -> str:
        return self.shape.name


def load(path: Path, soc: str) -> Case:
    """soc: as CANN names it; Ascend910B1 is configs/soc/ascend910b1.yaml. ValueError if the kernel refuses a shape."""
    shape = load_shape(path)
    backend = make_backend("sim", soc=soc.lower())
    assert backend.soc is not None, "a sim backend has a SoC"
    arguments = backends.make_inputs(shape)
    options = Options(**{name: x for name, x in arguments.items() if name not in ("q", "k", "v")})
    q, k, v = (arguments[name] for name in ("q", "k", "v"))
    p = check_arguments(q, k, v, options, "sim")
    out, lse = q.new_empty(p.out_shape), torch.empty(p.lse_shape)
    return Case(shape, backend, arguments, options, make_call(q, k, v, out, lse, options, p, backend.soc, None))


def write(case: Case, folder: Path) -> None:
    """Fills the folder with case.txt, the tiling and every input."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = case.call.plan
    files = {"tiling": plan["tiling_bytes"], "mask": case.call.constants.tobytes()}
    files |= {name: raw_bytes(x) for name, x in case.call.read.items()}
    for name, content in files.items():
        (folder / f"{name}.bin").write_bytes(content)
    lines = [f"kernel {KERNEL}", f"block_dim {plan['block_dim']}", "tiling tiling.bin"]
    for name in _native.core().kernels()[KERNEL]["operands"]:
        if name in files:
            lines.append(f"in {name}.bin")
        elif name in case.call.written:
            lines.append(f"out {name}.bin {extent_bytes(case.call.written[name])}")
        elif name == "workspace" and plan["workspace_bytes"]:
            lines.append(f"scratch {plan['workspace_bytes']}")
        else:
            lines.append("absent")
    (folder / "case.txt").write_text("\n".join(lines) + "\n")


def raw_bytes(x: Tensor) -> bytes:
    """The memory from the tensor's first element to its last, whatever its strides."""
    memory = x.as_strided((extent_bytes(x) // x.element_size(),), (1,))
    return memory.contiguous().view(torch.uint8).numpy().tobytes()


def judge(case: Case, folder: Path) -> list[str]:
    """What is wrong with the outputs in the folder; empty if nothing is."""
    outputs, wrong = {}, []
    for name, expected in case.call.written.items():
        path = folder / f"{name}.bin"
        if not path.exists():
            wrong.append(f"{name}: was not written")
            continue
        raw = torch.from_numpy(np.frombuffer(path.read_bytes(), np.uint8).copy())
        if raw.numel() != extent_bytes(expected):
            wrong.append(f"{name}: {raw.numel()} bytes, expected {extent_bytes(expected)}")
            continue
        outputs[name] = raw.view(expected.dtype).view(expected.shape)
    if wrong:
        return wrong
    fill_behind_sequences(outputs["o"], outputs["lse"], case.options)
    exact = reference.attention_float64(**case.arguments)
    same = reference.attention_same_precision(**case.arguments)
    for name, *references in zip(("o", "lse"), exact, same, strict=True):
        wrong += [f"{name}: {text}" for text in reference.check(outputs[name], *references).reasons]
    return wrong


def embedded_cycles(case: Case) -> dict[str, int]:
    """kind.pipe -> busy cycles, by the embedded simulator."""
    figures = backends.run(case.shape, case.backend).figures
    return {pipe: round(share * figures["cycles"]) for pipe, share in figures["pipe_busy"].items()}
