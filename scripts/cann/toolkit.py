"""The CANN toolkit on this machine, and the commands that scripts/cann_sim gives to it."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "fastattention_npu/npu/kernels"
DEFAULT_SOC = "Ascend910B1"  # the one that msopprof's documentation names for A2
RUNNERS = {"cpu": "CPU twin", "sim": "cycle simulator"}


class UnusableError(Exception):
    """No toolkit, or one without what is needed."""


@dataclass(frozen=True)
class Toolkit:
    home: Path
    soc: str

    @staticmethod
    def find() -> "Toolkit":
        home = os.environ.get("ASCEND_HOME_PATH")
        if not home or not Path(home).is_dir():
            raise UnusableError(
                f"no CANN toolkit: ASCEND_HOME_PATH is {home!r}; source its set_env.sh, or run in a container of CANN "
                "(docs/ascend_host.md)"
            )
        return Toolkit(Path(home), os.environ.get("SOC_VERSION") or DEFAULT_SOC)

    def configure(self, runner: str, build: Path) -> list[str]:
        return [
            *("cmake", "-S", str(KERNELS), "-B", str(build)),
            f"-DCMAKE_ASC_RUN_MODE={runner}",
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DSOC_VERSION={self.soc}",
            "-DFASTATTN_RUN_CASE=ON",
        ]

    def compile(self, build: Path) -> list[str]:
        return ["cmake", "--build", str(build), "--parallel"]

    def execute(self, runner: str, build: Path, folder: Path) -> list[str]:
        """Runs the case in `folder`; under the cycle simulator its profile lands in folder/profile."""
        program = [str(build / "run_case"), str(folder)]
        if runner == "cpu":
            return program
        profiler = shutil.which("msopprof")
        if profiler is None:
            raise UnusableError("the toolkit has no msopprof on the search path: source its set_env.sh")
        return [profiler, "simulator", f"--soc-version={self.soc}", f"--output={folder / 'profile'}", *program]
