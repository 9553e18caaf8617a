"""`import fastattention_npu`: what it costs, and what it does where torch_npu is installed and CANN is not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TORCH_NPU = Path(sys.prefix) / "torch-npu"  # where scripts/test installs it
NEW_MODULES = """
import sys, json, torch
before = set(sys.modules)
import fastattention_npu
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def python(program: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: x for name, x in os.environ.items() if not name.startswith(("PYTHON", "TORCH", "LD_LIBRARY"))}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_heavy_is_imported() -> None:
    """The cost beyond torch's own: modules are counted, for a time would depend on the machine."""
    done = python(NEW_MODULES)
    assert done.returncode == 0, done.stderr
    new = json.loads(done.stdout)
    ours = {name for name in new if name.startswith("fastattention_npu")}
    assert "fastattention_npu.ops" in ours
    for lazy in ("_core", "sim", "cuda", "npu", "cooperative", "distributed", "bench", "fuzz", "cli"):
        assert not {name for name in ours if name.startswith(f"fastattention_npu.{lazy}")}, lazy
    others = {name.partition(".")[0] for name in new} - {"fastattention_npu"} - sys.stdlib_module_names
    assert {name for name in others if "cython" not in name} <= {"yaml", "_yaml"}  # yaml's own are Cython's


@pytest.fixture
def without_cann() -> dict[str, str]:
    if not (TORCH_NPU / "torch_npu").is_dir():
        pytest.skip(f"torch_npu is not installed in {TORCH_NPU}: scripts/test does that")
    return {"PYTHONPATH": str(TORCH_NPU)}


def test_torch_npu_without_cann_breaks_torch(without_cann: dict[str, str]) -> None:
    """The pitfall that the next tests are about."""
    done = python("import torch", **without_cann)
    assert done.returncode != 0
    assert "Failed to load the backend extension: torch_npu" in done.stderr


def test_this_package_imported_first_explains_it(without_cann: dict[str, str]) -> None:
    done = python("import fastattention_npu, torch; print(torch.ones(2).sum().item())", **without_cann)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "2.0"
    assert "torch_npu is installed, but CANN's runtime cannot be loaded" in done.stderr
    assert "TORCH_DEVICE_BACKEND_AUTOLOAD=0 silences this" in done.stderr


def test_the_variable_silences_it(without_cann: dict[str, str]) -> None:
    program = "import torch, fastattention_npu; print(torch.ones(2).sum().item())"
    done = python(program, TORCH_DEVICE_BACKEND_AUTOLOAD="0", **without_cann)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "2.0", "")


def test_without_torch_npu_nothing_is_said() -> None:
    done = python("import fastattention_npu, os; print(os.environ.get('TORCH_DEVICE_BACKEND_AUTOLOAD'))")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "None", "")
