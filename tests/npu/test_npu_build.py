"""The build of the kernels with CANN, against a toolkit of our own text (fake_cann.py): which commands it issues, what
it refuses. No CANN compiler has seen the kernels here."""

import shutil
import subprocess
import sys
from pathlib import Path

import nanobind
import pytest

from .conftest import ROOT
from .fake_cann import FakeCann

KERNELS = ROOT / "fastattention_npu/npu/kernels"
CARD = """
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     {name}               | OK            | 93.6        38                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          3350 / 65536         |
+===========================+===============+====================================================+
"""


@pytest.fixture
def cann(tmp_path: Path) -> FakeCann:
    return FakeCann(tmp_path)


def configure(cann: FakeCann, build: Path, *options: str, source: Path = KERNELS, **extra: str) -> str:
    """CMake's output; the exit status is judged by the text that the caller looks for."""
    command = ["cmake", "-G", "Ninja", "-S", str(source), "-B", str(build), *options]
    environment = cann.environment(**extra)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    text = done.stdout + " ".join(done.stderr.split())
    return text if done.returncode == 0 else f"FAILED {text}"


@pytest.mark.parametrize("mode", ["npu", "sim", "cpu"])
def test_commands_of_a_run_mode(cann: FakeCann, tmp_path: Path, mode: str) -> None:
    build = tmp_path / "build"
    said = configure(cann, build, f"-DCMAKE_ASC_RUN_MODE={mode}", SOC_VERSION="Ascend910B2")
    assert f"dav-2201, run mode {mode}" in said
    subprocess.run(["ninja", "-C", str(build)], env=cann.environment(), check=True, capture_output=True)
    compile_, link = cann.commands()
    assert "--npu-arch=dav-2201" in compile_
    assert compile_[-1] == str(KERNELS / "launch.asc")
    assert f'-DFASTATTN_RUN_MODE="{mode}"' in compile_
    assert f"-I{ROOT}" in compile_
    assert "-fPIC" in compile_
    assert (f"--run-mode={mode}" in compile_) == (mode != "npu")
    assert "-shared" in link
    assert link[link.index("-o") + 1].endswith("libfastattn_npu.so")
    symbols = subprocess.run(
        ["nm", "-D", str(build / "libfastattn_npu.so")], capture_output=True, text=True, check=True
    )
    for name in ("fastattn_npu_launch", "fastattn_npu_runner", "flash_attention_fwd", "append_kv_cache"):
        assert f" T {name}\n" in symbols.stdout


def test_soc_from_npu_smi(cann: FakeCann, tmp_path: Path) -> None:
    cann.program("npu-smi", f"print({CARD.format(name='910B3')!r})")
    assert "SoC Ascend910B3: dav-2201" in configure(cann, tmp_path / "build")


def test_soc_version_goes_before_npu_smi(cann: FakeCann, tmp_path: Path) -> None:
    cann.program("npu-smi", f"print({CARD.format(name='910B3')!r})")
    assert "SoC Ascend910B1: dav" in configure(cann, tmp_path / "build", SOC_VERSION="Ascend910B1")


def test_unknown_soc_says_how_to_set_it(cann: FakeCann, tmp_path: Path) -> None:
    said = configure(cann, tmp_path / "build")
    assert said.startswith("FAILED")
    assert "SOC_VERSION=Ascend910B2 pip install ." in said


def test_a_chip_of_another_architecture_is_refused(cann: FakeCann, tmp_path: Path) -> None:
    said = configure(cann, tmp_path / "build", SOC_VERSION="Ascend310P3")
    assert said.startswith("FAILED")
    assert "SOC_VERSION = Ascend310P3: must be an Ascend910B" in said


def test_another_architecture_is_refused(cann: FakeCann, tmp_path: Path) -> None:
    said = configure(cann, tmp_path / "build", "-DCMAKE_ASC_ARCHITECTURES=dav-3510")
    assert said.startswith("FAILED")
    assert "CMAKE_ASC_ARCHITECTURES = dav-3510: must be dav-2201" in said
    assert "FAILED" not in configure(cann, tmp_path / "other", "-DCMAKE_ASC_ARCHITECTURES=dav-2201")


def test_a_misspelt_run_mode_is_refused(cann: FakeCann, tmp_path: Path) -> None:
    said = configure(cann, tmp_path / "build", "-DCMAKE_ASC_RUN_MODE=nppu", SOC_VERSION="Ascend910B2")
    assert said.startswith("FAILED")


def package_options() -> list[str]:
    return [f"-Dnanobind_DIR={nanobind.cmake_dir()}", f"-DPython_EXECUTABLE={sys.executable}"]


def test_the_package_builds_them_where_there_is_cann(cann: FakeCann, tmp_path: Path) -> None:
    build = tmp_path / "build"
    said = configure(cann, build, *package_options(), source=ROOT, SOC_VERSION="Ascend910B2")
    assert "kernels for the NPU: dav-2201, run mode npu" in said
    library = "fastattention_npu/npu/kernels/libfastattn_npu.so"
    subprocess.run(["ninja", "-C", str(build), library], env=cann.environment(), check=True, capture_output=True)
    command = ["ninja", "-C", str(build), "-t", "commands", "libascend_sim.so"]
    others = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "c++" in others
    assert "bisheng" not in others, "the toolkit's language reaches other targets"
    prefix = tmp_path / "prefix"
    install = ["cmake", "--install", str(build / "fastattention_npu/npu/kernels"), "--prefix", str(prefix)]
    subprocess.run(install, check=True, capture_output=True)
    assert (prefix / "fastattention_npu/libfastattn_npu.so").exists()


def test_the_package_says_what_it_leaves_out_without_cann(cann: FakeCann, tmp_path: Path) -> None:
    shutil.rmtree(cann.home)
    environment = {name: value for name, value in cann.environment().items() if name != "ASCEND_HOME_PATH"}
    command = ["cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(tmp_path / "build"), *package_options()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if "Left out" in line]
    assert lines == [
        "-- Left out: the kernels for the NPU, since there is no CANN (its set_env.sh sets ASCEND_HOME_PATH)"
    ]
