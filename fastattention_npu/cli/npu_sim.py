"""`fastattn npu-sim -- PROGRAM ...`: runs a program that finds an NPU on this machine, by stand-in CANN libraries.

torch_npu is the genuine one; below it lie our own libraries with CANN's names, host memory, and the embedded simulator.
Only copies and this package's operators run there; anything else raises an error that names it.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ..config import SocConfig, load_soc
from ..dispatch import DEFAULT_SOC
from ..errors import BackendUnavailableError
from ..npu.runtime import soc_name_for_runtime, stand_in_folder
from ..sim.launch import default_threads
from .arguments import positive

SETTINGS_VARIABLE = "FASTATTN_NPU_SIM"  # the settings file, for the stand-in libraries

CUDA_BUILD = (
    "this torch is built for CUDA {cuda}, and torch_npu 2.13 ends a process that has loaded such a torch, because both "
    "register the same allocator settings: install the CPU build of torch"
)


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    item = commands.add_parser(
        "npu-sim", help="run a program with a simulated npu:0 under torch_npu", allow_abbrev=False
    )
    item.add_argument("--soc", default=DEFAULT_SOC, help=f"SoC file or name in configs/soc (default {DEFAULT_SOC})")
    item.add_argument("--devices", type=positive, default=1, help="NPUs that the program finds (default 1)")
    item.add_argument("--threads", type=positive, help="CPU threads of the simulator (default all); changes no bit")
    item.add_argument("--checks", choices=("on", "off"), default="on", help="race and poison checks (default on)")
    item.add_argument("program", nargs=argparse.REMAINDER, metavar="-- PROGRAM ...", help="the command to run")
    item.set_defaults(function=command)


def command(options: argparse.Namespace) -> int:
    """Exit status of the program."""
    program = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not program:
        raise BackendUnavailableError("npu-sim: no program; write: fastattn npu-sim -- python script.py")
    if shutil.which(program[0]) is None:
        raise BackendUnavailableError(f"npu-sim: no such program: {program[0]}")
    soc = load_soc(options.soc)
    if find_spec("torch_npu") is None:
        raise BackendUnavailableError(
            "npu-sim needs torch_npu, which is not installed: pip install --no-deps torch-npu==VERSION, with the "
            "version of torch; it needs no CANN here"
        )
    with tempfile.TemporaryDirectory(prefix="fastattn-npu-sim-") as folder:
        settings = Path(folder) / "settings"
        settings.write_text(settings_text(soc, options.devices, options.threads, options.checks == "on"))
        status = subprocess.run(program, env=environment(os.environ, settings), check=False).returncode
    if status == -signal.SIGABRT and torch.version.cuda:
        print(f"npu-sim: {program[0]} aborted; {CUDA_BUILD.format(cuda=torch.version.cuda)}", file=sys.stderr)
    return status


def settings_text(soc: SocConfig, devices: int, threads: int | None, checks: bool) -> str:
    """What the stand-in libraries read: lines of a key and a value."""
    values = {
        "soc_name": soc_name_for_runtime(soc),
        "devices": devices,
        "threads": threads or default_threads(),
        "checks": int(checks),
        **soc.values(),
    }
    return "".join(f"{key} {value}\n" for key, value in values.items())


def environment(base: Mapping[str, str], settings: Path) -> dict[str, str]:
    """The environment in which torch_npu finds the stand-in libraries."""
    path = [str(stand_in_folder()), *filter(None, [base.get("LD_LIBRARY_PATH")])]
    return dict(base) | {
        SETTINGS_VARIABLE: str(settings),
        "LD_LIBRARY_PATH": os.pathsep.join(path),
        "TORCH_DEVICE_BACKEND_AUTOLOAD": "1",  # import torch finds torch_npu, as on an Ascend host
        # Failures reach the call that made them. Queued, an operator that the stand-in lacks would fail at the next
        # synchronisation, and what was computed from its output before would be wrong.
        "TASK_QUEUE_ENABLE": base.get("TASK_QUEUE_ENABLE", "0"),
    }
