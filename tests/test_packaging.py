"""What the source distribution and the wheel hold, and (slow) that the wheel works where nothing else is installed."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import torch
from pathspec import GitIgnoreSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SMOKE = """
import json, sys, torch
import fastattention_npu as fa
assert not any(name.startswith("torch_npu") for name in sys.modules)
q = torch.randn(1, 40, 2, 64).half()
host = fa.flash_attn_func(q, q, q, causal=True)
with fa.backend("sim"):
    simulated = fa.flash_attn_func(q, q, q, causal=True)
assert (host - simulated).abs().max() < 5e-3
print(fa.__file__)
"""


def test_extras() -> None:
    assert set(PROJECT["project"]["optional-dependencies"]) >= {"npu", "cuda", "plot", "hf", "dev"}
    # Neither the build nor a plain installation may ask for torch_npu: without CANN it breaks `import torch`.
    asked = [*PROJECT["build-system"]["requires"], *PROJECT["project"]["dependencies"]]
    assert not [name for name in asked if name.startswith(("torch-npu", "torch_npu"))]
    assert not [name for name in PROJECT["build-system"]["requires"] if name.startswith("torch")]


@pytest.mark.parametrize(
    ("file", "left_out"),
    [
        ("fastattention_npu/npu/glue.cpp", False),  # compiled where torch_npu is
        ("fastattention_npu/npu/launch_abi.h", False),
        ("fastattention_npu/npu/kernels/launch.asc", True),
        ("fastattention_npu/sim/machine/launch.cpp", True),
        ("fastattention_npu/sim/acl/stream.h", True),
        ("fastattention_npu/native/module.cpp", True),
        ("fastattention_npu/cpu/attention.h", True),
    ],
)
def test_sources_in_the_wheel(file: str, left_out: bool) -> None:
    assert (ROOT / file).is_file()
    spec = GitIgnoreSpec.from_lines(PROJECT["tool"]["scikit-build"]["wheel"]["exclude"])
    assert spec.match_file(file) == left_out


def test_source_distribution(tmp_path: Path) -> None:
    code = f"import scikit_build_core.build as b; print(b.build_sdist({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.split("/", 1)[1] for name in file.getnames() if "/" in name}
    for needed in (
        "CMakeLists.txt",
        "LICENSE",
        "configs/soc/ascend910b2.yaml",
        "op_kernel/flash_attention/flash_attention_fwd.cpp",
        "op_host/plan.cpp",
        "fastattention_npu/npu/kernels/CMakeLists.txt",
        "fastattention_npu/npu/kernels/launch.asc",
    ):
        assert needed in names
    assert not [name for name in names if name.endswith((".so", ".o", ".pyc")) or name.startswith(("build/", ".venv"))]


def other_packages(folder: Path) -> Path:
    """Links to what is installed here, less this package: torch and its dependencies for a new environment."""
    folder.mkdir()
    for entry in Path(torch.__file__).parent.parent.iterdir():
        if "fastattention" not in entry.name and not entry.name.endswith(".pth"):
            (folder / entry.name).symlink_to(entry)
    return folder


@pytest.mark.skipif(not os.environ.get("FASTATTN_TEST_SLOW"), reason="builds the wheel: FASTATTN_TEST_SLOW=1")
def test_the_wheel_in_an_empty_environment(tmp_path: Path) -> None:
    code = f"import scikit_build_core.build as b; print(b.build_wheel({str(tmp_path)!r}))"
    environment = {name: x for name, x in os.environ.items() if name != "ASCEND_HOME_PATH"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, env=environment)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        libraries = [name for name in names if ".so" in name]
        file.extractall(tmp_path / "content")
    assert "fastattention_npu/npu/glue.cpp" in names
    assert "fastattention_npu/configs/selftest.yaml" in names
    assert len(libraries) >= 9
    for library in libraries:
        command = ["readelf", "-d", str(tmp_path / "content" / library)]
        needed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert "libtorch" not in needed, library
        assert "libc10" not in needed, library  # "c10" alone may be part of an address
    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty/bin/python"
    install = [str(python), "-m", "pip", "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    environment["PYTHONPATH"] = str(other_packages(tmp_path / "others"))
    done = subprocess.run([python, "-c", SMOKE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "empty") in done.stdout
    doctor = [str(tmp_path / "empty/bin/fastattn"), "doctor"]
    done = subprocess.run(doctor, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
