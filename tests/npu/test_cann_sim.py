"""scripts/cann_sim: its cases, its commands, its collector. The toolkit is our own text (fake_cann.py), so that CANN's
simulators have not run anything here; what is linked runs in the embedded simulator by way of the stand-in libraries.
The profile is a sample in the documented format, written by us.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fastattention_npu.cli.npu_sim import settings_text
from fastattention_npu.config import load_soc
from fastattention_npu.npu.runtime import stand_in_folder
from fastattention_npu.yaml_file import config_names

from .conftest import ROOT
from .fake_cann import FakeCann

sys.path.insert(0, str(ROOT / "scripts" / "cann"))

import cases
import collect
import main as cann_sim

SAMPLE = Path(__file__).parent / "profile_sample"
PROFILER = """
import pathlib, shutil, subprocess, sys
arguments = sys.argv[1:]
assert arguments[:2] == ["simulator", "--soc-version=Ascend910B1"], arguments
output = arguments[2].removeprefix("--output=")
shutil.copytree({sample!r}, output, dirs_exist_ok=True)
sys.exit(subprocess.run(arguments[3:]).returncode)
"""


@pytest.fixture
def cann(tmp_path: Path, torch_npu: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCann:
    cann = FakeCann(tmp_path, stand_in_folder(), torch_npu / "torch_npu/include")
    cann.program("msopprof", PROFILER.format(sample=str(SAMPLE)))
    settings = tmp_path / "settings"
    settings.write_text(settings_text(load_soc("ascend910b1"), devices=1, threads=2, checks=True))
    extra = {"FASTATTN_NPU_SIM": str(settings), "LD_LIBRARY_PATH": str(stand_in_folder())}  # set_env.sh sets the latter
    for name, value in cann.environment(**extra).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SOC_VERSION", raising=False)
    return cann


def run(tmp_path: Path, *options: str) -> int:
    case = cases.CASES / "ragged_80.yaml"
    return cann_sim.main(["--work", str(tmp_path / "work"), *options, str(case)])


@pytest.mark.usefixtures("simulated_npu")
def test_both_runners(cann: FakeCann, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 0, capsys.readouterr()
    said = capsys.readouterr().out
    assert "ragged_80                CPU twin         ok" in said
    assert "ragged_80                cycle simulator  ok" in said
    assert "aiv.vector" in said
    assert re.search(r"furthest apart: ai[cv]\.\w+, a factor \d", said)
    # A result that differs is noticed, and so are cycles beyond the factor asked for.
    case = cases.load(cases.CASES / "ragged_80.yaml", "Ascend910B1")
    folder = tmp_path / "work/cpu/ragged_80"
    assert cases.judge(case, folder) == []
    content = bytearray((folder / "o.bin").read_bytes())
    content[100] ^= 0x7F
    content[101] ^= 0x7F
    (folder / "o.bin").write_bytes(content)
    assert cases.judge(case, folder)
    (folder / "lse.bin").unlink()
    assert "lse: was not written" in cases.judge(case, folder)
    assert run(tmp_path, "--runner", "sim", "--within", "1.0001") == 1


@pytest.mark.usefixtures("simulated_npu")
def test_every_case_on_the_cpu_twin(cann: FakeCann, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every layout, and mask tensors: the launch is the operator's own, whatever the shape file asks for."""
    shapes = [cases.load_shape(path) for path in cases.CASES.glob("*.yaml")]
    assert {shape.layout for shape in shapes} == {"bshd", "bnsd", "bsh", "tnd"}
    assert {shape.mask for shape in shapes} >= {None, "bool", "additive"}
    assert cann_sim.main(["--work", str(tmp_path / "work"), "--runner", "cpu"]) == 0, capsys.readouterr()
    assert capsys.readouterr().out.count("CPU twin         ok") == len(shapes)


def test_a_shape_that_the_kernel_does_not_take(
    cann: FakeCann, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pages.yaml").write_text("b: 1\ns_q: 1\ns_kv: 40\nh_q: 1\nh_kv: 1\nd: 16\npage_size: 16\n")
    assert cann_sim.main(["--work", str(tmp_path / "work"), str(tmp_path / "pages.yaml")]) == 2
    assert "the Ascend C kernel reads contiguous keys" in capsys.readouterr().err


@pytest.mark.usefixtures("simulated_npu")
def test_a_run_that_fails_shows_its_output(
    cann: FakeCann, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FASTATTN_NPU_SIM")
    assert run(tmp_path, "--runner", "cpu") == 2
    assert "aclInit failed" in capsys.readouterr().err


def test_every_case_has_a_plan_and_every_operand_a_line(tmp_path: Path) -> None:
    for path in cases.CASES.glob("*.yaml"):
        case = cases.load(path, "Ascend910B1")
        cases.write(case, tmp_path / case.name)
        lines = (tmp_path / case.name / "case.txt").read_text().splitlines()
        assert len(lines) == 3 + len(cases._native.core().kernels()[cases.KERNEL]["operands"])


def test_without_a_toolkit_one_line_says_so() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ASCEND_HOME_PATH"}
    done = subprocess.run([ROOT / "scripts/cann_sim"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr == "cann_sim: no CANN toolkit: ASCEND_HOME_PATH is ''; source its set_env.sh\n"


@pytest.mark.parametrize(("given", "used"), [(None, "Ascend910B1"), ("Ascend910B3", "Ascend910B3")])
def test_the_package_is_built_for_the_chip_that_is_simulated(tmp_path: Path, given: str | None, used: str) -> None:
    """In a container without a card nothing else names one, and the build would stop for that."""
    scripts = tmp_path / "scripts"
    (scripts / "cann").mkdir(parents=True)
    for name in ("cann_sim", "cann/toolkit.py"):
        shutil.copy(ROOT / "scripts" / name, scripts / name)
    (scripts / "common.sh").write_text(f"cd {tmp_path}\nsetup() {{ echo built for $SOC_VERSION; }}\n")
    (scripts / "cann/main.py").write_text("import os; print('run for', os.environ['SOC_VERSION'])\n")
    environment = {name: value for name, value in os.environ.items() if name != "SOC_VERSION"}
    environment |= {"ASCEND_HOME_PATH": str(tmp_path)} | ({"SOC_VERSION": given} if given else {})
    done = subprocess.run([scripts / "cann_sim"], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"built for {used}", f"run for {used}"]


def test_the_workflow_runs_it_in_the_image_that_the_page_names() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ascend_simulator.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["cann_sim"]
    assert job["container"].startswith("quay.io/ascend/cann:")
    assert "910b-ubuntu22.04-py3.11" in job["container"]
    assert "quay.io/ascend/cann:<version>-910b-ubuntu22.04-py3.11" in (ROOT / "docs/ascend_host.md").read_text("utf-8")
    (step,) = [step for step in job["steps"] if "scripts/cann_sim" in step.get("run", "")]
    command = next(line for line in step["run"].splitlines() if line.startswith("scripts/cann_sim")).split()
    assert os.access(ROOT / command[0], os.X_OK)
    assert cann_sim.arguments(command[1:]).json == Path("cann_sim.json")
    assert step["env"]["SOC_VERSION"].lower() in config_names("soc")
    kept = next(step["with"]["path"].split() for step in job["steps"] if "upload" in step.get("uses", ""))
    work = "build/cann_sim"  # the default of --work
    assert kept == ["cann_sim.json", f"{work}/*/build.log", f"{work}/*/*/log.txt"]
    assert cann_sim.arguments([]).work == ROOT / work


def test_collector_on_the_sample() -> None:
    cores = collect.profile_cycles(SAMPLE)
    assert cores["core0.veccore1"] == {"mte2": 1500, "vector": 3600, "mte3": 700, "scalar": 300}
    assert collect.busiest(cores) == {
        "aic.mte2": 2400,
        "aic.mte1": 1900,
        "aic.cube": 900,
        "aic.fixpipe": 3100,
        "aic.scalar": 420,
        "aiv.mte2": 1500,
        "aiv.vector": 3600,
        "aiv.mte3": 700,
        "aiv.scalar": 300,
    }


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda text: text.replace("pipe,", "pipeline,"), "no column pipe"),
        (lambda text: text.replace("2400", "many"), "no number"),
    ],
)
def test_collector_refuses_another_format(tmp_path: Path, damage, complaint: str) -> None:
    shutil.copytree(SAMPLE, tmp_path / "sample")
    table = next((tmp_path / "sample").glob("*/simulator/core0.cubecore0/*.csv"))
    table.write_text(damage(table.read_text()))
    with pytest.raises(collect.BadProfileError, match=complaint):
        collect.profile_cycles(tmp_path / "sample")


def test_collector_without_a_profile(tmp_path: Path) -> None:
    with pytest.raises(collect.BadProfileError, match="wrote nothing"):
        collect.profile_cycles(tmp_path)


def test_times_are_judged() -> None:
    same = {"aic.cube": 100, "aiv.vector": 200, "aic.scalar": 5}
    assert cann_sim.time_reasons(same, same | {"aic.scalar": 500}, 1.5) == []
    assert cann_sim.time_reasons(same, same | {"aiv.vector": 350}, None) == []
    assert cann_sim.time_reasons(same, same | {"aiv.vector": 350}, 1.5) == [
        "aiv.vector: 200 cycles against 350, a factor above 1.5"
    ]
    assert len(cann_sim.time_reasons(same, {"aic.cube": 100}, None)) == 1


def test_ratios_come_by_their_distance_from_one() -> None:
    assert cann_sim.ratios(
        {"aic.cube": 100, "aiv.vector": 50, "aiv.mte2": 30, "aic.mte1": 7},
        {"aic.cube": 90, "aiv.vector": 200, "aiv.mte2": 10, "aic.fixpipe": 0},
    ) == {"aiv.vector": 0.25, "aiv.mte2": 3.0, "aic.cube": 100 / 90}
