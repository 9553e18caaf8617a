"""`pip install .` from a copy of the checkout: with a CANN toolkit of our own text (fake_cann.py), without one, and
with one and no word of the chip.

pip, scikit-build-core, CMake, every link and the installation are real. To compile the package's C++ again would take
two minutes, so the compiler's launcher hands out objects of this checkout's own build; FASTATTN_TEST_SLOW=1 compiles.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from .conftest import CACHE, ROOT, TORCH_NPU
from .fake_cann import FakeCann

SLOW = bool(os.environ.get("FASTATTN_TEST_SLOW"))
# CMake gives the compiler's command line; ninja runs it in the build folder, so that the object's path is relative.
LAUNCHER = f"""
import shutil, subprocess, sys
from pathlib import Path

command = sys.argv[1:]
if "-o" in command and "-c" in command:
    target = Path(command[command.index("-o") + 1])
    # A source below this checkout, such as nanobind's, has a relative path there and an absolute one in a copy.
    built = Path({str(ROOT / "build/editable")!r}) / str(target).replace({str(ROOT)[1:] + "/"!r}, "")
    if not target.is_absolute() and target.parts[0] == "CMakeFiles" and built.exists():
        if "-MF" in command:
            Path(command[command.index("-MF") + 1]).write_text(f"{{target}}:\\n")
        shutil.copyfile(built, target)
        sys.exit()
sys.exit(subprocess.run(command).returncode)
"""
INSTALLED = """
import json
import fastattention_npu as fa
import torch
from fastattention_npu.npu import runtime

found = {"file": fa.__file__, "kernels": runtime.kernels_library()}
if found["kernels"]:
    found["runner"] = runtime.runtime().runner
q = torch.randn(1, 20, 2, 32).half()
with fa.backend("sim"):
    found["error"] = (fa.flash_attn_func(q, q, q) - fa.flash_attn_func(q, q, q)).abs().max().item()
print(json.dumps(found))
"""
ON_NPU = """
import torch, torch_npu
import fastattention_npu as fa
q = torch.randn(1, 40, 2, 64).half()
out = fa.flash_attn_func(*(x.npu() for x in (q, q, q)), causal=True)
print(fa.__file__, (out.cpu() - fa.flash_attn_func(q, q, q, causal=True)).abs().max().item() < 5e-3)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone holds, as it is here and now: no build folder, no generated file."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: there is no list of its files")
    folder = tmp_path_factory.mktemp("clone")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def pip_install(checkout: Path, target: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    options = ["--no-build-isolation", "--no-deps", "--no-index", "--no-cache-dir", "-v", "--target", str(target)]
    return subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, str(checkout)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def with_launcher(environment: dict[str, str], folder: Path) -> dict[str, str]:
    if SLOW:
        return environment
    script = folder / "launcher"
    script.write_text(f"#!{sys.executable} -I\n{LAUNCHER}")
    script.chmod(0o755)
    return environment | {"CMAKE_CXX_COMPILER_LAUNCHER": str(script)}


def python(target: Path, *arguments: str, **extra: str) -> str:
    """Standard output of a program that sees what was installed, and else this environment's packages.

    -S: not the path file of this checkout's own editable installation.
    """
    path = os.pathsep.join([str(target), str(TORCH_NPU), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    environment = {name: x for name, x in os.environ.items() if name != "ASCEND_HOME_PATH"}
    environment |= {"PYTHONPATH": path, "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"} | extra
    done = subprocess.run(
        [sys.executable, "-S", *arguments], env=environment, cwd=target, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_with_a_toolkit(checkout: Path, tmp_path: Path, simulated_npu: Path) -> None:
    cann, target = FakeCann(tmp_path), tmp_path / "installed"
    done = pip_install(checkout, target, with_launcher(cann.environment(SOC_VERSION="Ascend910B2"), tmp_path))
    assert done.returncode == 0, done.stdout[-4000:]
    assert "kernels for the NPU: dav-2201, run mode npu" in done.stdout
    assert "Left out" not in done.stdout
    compile_, link = cann.commands()
    assert compile_[-1] == str(checkout / "fastattention_npu/npu/kernels/launch.asc")
    assert "--npu-arch=dav-2201" in compile_
    assert "-shared" in link
    library = target / "fastattention_npu/libfastattn_npu.so"
    symbols = subprocess.run(["nm", "-D", str(library)], capture_output=True, text=True, check=True).stdout
    for name in ("fastattn_npu_launch", "flash_attention_fwd", "append_kv_cache"):
        assert f" T {name}\n" in symbols
    found = json.loads(python(target, "-c", INSTALLED))
    assert found["file"] == str(target / "fastattention_npu/__init__.py")
    assert found["kernels"] == str(library)
    assert found["runner"] == "npu"
    # The stand-in NPU of the same installation.
    simulated = ["-W", "ignore", "-m", "fastattention_npu", "npu-sim", "--", sys.executable, "-S", "-c", ON_NPU]
    said = python(target, *simulated, FASTATTN_CACHE=str(CACHE))
    assert said.splitlines()[-1] == f"{found['file']} True"  # torch_npu warns on standard output


def test_without_a_toolkit(checkout: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    environment = {name: x for name, x in os.environ.items() if name not in ("ASCEND_HOME_PATH", "SOC_VERSION")}
    done = pip_install(checkout, target, with_launcher(environment, tmp_path))
    assert done.returncode == 0, done.stdout[-4000:]
    (line,) = (x.strip() for x in done.stdout.splitlines() if "Left out" in x)
    assert line == "-- Left out: the kernels for the NPU, since there is no CANN (its set_env.sh sets ASCEND_HOME_PATH)"
    found = json.loads(python(target, "-c", INSTALLED))
    assert found["file"] == str(target / "fastattention_npu/__init__.py")
    assert found["kernels"] is None


def test_a_toolkit_and_no_word_of_the_chip(checkout: Path, tmp_path: Path) -> None:
    done = pip_install(checkout, tmp_path / "installed", FakeCann(tmp_path).environment())
    assert done.returncode != 0
    assert "SOC_VERSION=Ascend910B2 pip install ." in " ".join(done.stdout.split())
    assert not (tmp_path / "installed/fastattention_npu").exists()
