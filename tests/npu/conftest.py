"""Runs the files of inside/ once in a process with a simulated NPU, and what the tests need to look at its parts."""

import os
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch

from fastattention_npu.cli.npu_sim import CUDA_BUILD

ROOT = Path(__file__).resolve().parents[2]
INSIDE = Path(__file__).parent / "inside"
TORCH_NPU = Path(sys.prefix) / "torch-npu"  # where scripts/test installs it
CACHE = ROOT / "build/npu-cache"  # the compiled glue, kept between runs


def environment() -> dict[str, str]:
    variables = dict(os.environ) | {"PYTHONPATH": str(TORCH_NPU), "FASTATTN_CACHE": str(CACHE)}
    return {name: value for name, value in variables.items() if not name.startswith("PYTEST_")}


def npu_sim(*program: str, options: tuple[str, ...] = (), **extra: str) -> "subprocess.CompletedProcess[str]":
    """Runs a Python program with simulated NPUs."""
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-m", "fastattention_npu", "npu-sim", *options, "--"]
    return subprocess.run(
        [*command, sys.executable, *program],
        cwd=ROOT,
        env=environment() | extra,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def torch_npu() -> Path:
    if not (TORCH_NPU / "torch_npu").is_dir():
        pytest.skip(f"torch_npu is not installed in {TORCH_NPU}: scripts/test does that")
    return TORCH_NPU


@pytest.fixture(scope="session")
def simulated_npu(torch_npu: Path) -> Path:
    """For tests that load torch_npu, which not every build of torch lets them."""
    if torch.version.cuda:
        reason = CUDA_BUILD.format(cuda=torch.version.cuda)
        if reason in npu_sim("-c", "import torch").stderr:
            pytest.skip(reason)
    return torch_npu


@pytest.fixture(scope="session")
def inside(simulated_npu: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """For each file of inside/, what failed in it; a file that ran no test is missing."""
    report = tmp_path_factory.mktemp("npu") / "report.xml"
    files = [str(path) for path in sorted(INSIDE.glob("*.py"))]
    options = ("-q", "-p", "no:cacheprovider", f"--junitxml={report}", "-o", "junit_family=xunit1")
    done = npu_sim("-m", "pytest", *options, *files, options=("--devices", "2"))
    if not report.exists():
        pytest.fail(f"the tests on the simulated NPU did not run:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    results: dict[str, list[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        failures = results.setdefault(Path(case.get("file") or "").name, [])
        for kind in ("failure", "error", "skipped"):
            failures += [f"{case.get('name')}: {kind}: {x.text or x.get('message')}" for x in case.iter(kind)]
    return results


def python_include() -> str:
    return sysconfig.get_path("include")
