"""The stand-in libraries: their signatures against the genuine headers, and the command that sets them up."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fastattention_npu.cli import npu_sim as npu_sim_command
from fastattention_npu.cli.main import main

from .conftest import ROOT, npu_sim

ACL = ROOT / "fastattention_npu/sim/acl"


def complaint(source: str, torch_npu: Path) -> str:
    """The compiler's errors for a source of the stand-in when ACL's genuine declarations are in force."""
    includes = [f"-I{torch_npu / 'torch_npu/include'}", f"-I{ROOT}", f"-I{ACL}"]
    command = ["g++", "-std=c++20", "-fsyntax-only", "-w", "-DFASTATTN_GENUINE_ACL", *includes, "-x", "c++", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, cwd=ROOT, check=False)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("name", sorted(path.name for path in ACL.glob("api_*.cpp")))
def test_signatures_are_those_of_the_genuine_headers(name: str, torch_npu: Path) -> None:
    assert complaint((ACL / name).read_text(encoding="utf-8"), torch_npu) == ""


def test_a_wrong_signature_is_noticed(torch_npu: Path) -> None:
    source = (ACL / "api_memory.cpp").read_text(encoding="utf-8")
    right = "aclrtFree(void* address)"
    assert right in source
    assert "aclrtFree" in complaint(source.replace(right, "aclrtFree(void* address, int)"), torch_npu)


def test_another_soc_and_the_programs_exit_status(simulated_npu: Path) -> None:
    program = "import torch; print(torch.npu.get_device_name()); raise SystemExit(7)"
    done = npu_sim("-c", program, options=("--soc", "ascend910b4"))
    assert done.returncode == 7
    assert done.stdout.strip().endswith("Ascend910B4"), done.stderr


QUEUED = """
import torch, fastattention_npu as fa
q = torch.randn(1, 64, 2, 64).half()
there = q.to("npu")
outs = [fa.flash_attn_func(there, there, there) for _ in range(3)]
with fa.backend("sim"):
    expected = fa.flash_attn_func(q, q, q)
assert all(torch.equal(out.cpu(), expected) for out in outs)
print("queued launches are right")
y = torch.ones(4).to("npu") + 1
torch.npu.synchronize()
print("computed", y.cpu())
"""


def test_with_the_task_queue(simulated_npu: Path) -> None:
    """torch_npu's task queue, which npu-sim switches off: launches are right, and what is missing fails at the next
    synchronisation."""
    done = npu_sim("-c", QUEUED, TASK_QUEUE_ENABLE="1")
    assert done.returncode != 0
    assert "queued launches are right" in done.stdout, done.stderr
    assert "computed" not in done.stdout
    assert "operator Add is CANN's" in done.stderr


@pytest.mark.parametrize(("cuda", "program"), [("13.0", "abort()"), ("13.0", "_exit(1)"), (None, "abort()")])
def test_an_abort_under_a_cuda_build_of_torch_is_explained(
    cuda: str | None, program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(npu_sim_command, "find_spec", lambda name: True)
    status = main(["npu-sim", "--", sys.executable, "-c", f"import os; os.{program}"])
    assert status != 0
    explained = "install the CPU build of torch" in capsys.readouterr().err
    assert explained == (cuda is not None and program == "abort()")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--soc", "no_such_soc", "--", "true"], "no_such_soc"),
        ([], "npu-sim: no program"),
        (["--", "no-such-program-here"], "no such program"),
        (["--devices", "0", "--", "true"], "at least 1"),
    ],
)
def test_what_the_command_refuses(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(["npu-sim", *arguments])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    assert complaint in capsys.readouterr().err
