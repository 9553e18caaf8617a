"""The kernels on aarch64: cross-compiled and run under user-mode emulation. Needs Debian's g++-aarch64-linux-gnu and
qemu-user, which scripts/test installs; with libhwy-dev the NEON target is checked, too. Skips, saying what is missing,
elsewhere."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

CPU_FOLDER = Path(__file__).parents[2] / "fastattention_npu" / "cpu"
COMPILER = "aarch64-linux-gnu-g++"
FLAGS = [
    "-std=c++20",
    "-O1",
    "-march=armv8-a+crypto",
    "-DHWY_COMPILE_ONLY_STATIC",
    f"-I{CPU_FOLDER}",
    f"-I{CPU_FOLDER.parents[1]}",
]
HIGHWAY = next((p / "hwy" for p in (Path("/usr/include"), Path("/usr/local/include")) if (p / "hwy").is_dir()), None)


def run(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_under_emulation(tmp_path: Path) -> None:
    missing = [tool for tool in (COMPILER, "qemu-aarch64") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if not CPU_FOLDER.joinpath("plan.cpp").exists():
        pytest.skip("the C++ sources are not beside the tests")
    names = ["attention", "plan", "rows", "targets", "thread_pool", "kernels_portable"]
    names.append("kernels_fallback" if HIGHWAY is None else "kernels_highway")
    sources = [CPU_FOLDER / f"{name}.cpp" for name in names] + [Path(__file__).with_name("foreign_check.cpp")]
    include = []
    if HIGHWAY is not None:
        # A folder with Highway alone: the host's other headers must stay out of a cross compilation.
        (tmp_path / "hwy").symlink_to(HIGHWAY)
        include = [f"-I{tmp_path}"]

    def compiled(source: Path) -> Path:
        target = tmp_path / f"{source.stem}.o"
        run(COMPILER, *FLAGS, *include, "-c", source, "-o", target)
        return target

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compiled, sources))
    run(COMPILER, "-static", *objects, "-o", tmp_path / "check")
    report = run("qemu-aarch64", tmp_path / "check")
    assert "portable decode" in report
    assert "BAD" not in report
    assert HIGHWAY is None or "neon panels" in report
