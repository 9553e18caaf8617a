"""`fastattn doctor`: what this machine has, what therefore works, and what to do about the rest. Changes nothing."""

import argparse
import json
import os
import platform
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from .. import __version__, _native, cpu, cuda, limits
from ..config import load_soc
from ..dispatch import DEFAULT_SOC, NO_CARD
from ..errors import BackendUnavailableError, ConfigError
from ..npu.runtime import kernels_library
from ..sim.launch import default_threads
from ..yaml_file import config_names, config_root
from .bundle import CONTENTS, write_bundle
from .npu_sim import SETTINGS_VARIABLE
from .text import indent, table

HEADER_ROOT_VARIABLE = "ASCENDC_HEADERS"  # folder with the genuine kernel_operator.h
HEADER = "kernel_operator.h"
CANN_VARIABLES = ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")
CANN_HEADER_FOLDERS = ("compiler/tikcpp/tikcfw", "include/ascendc/basic_api", "include/ascendc")


def command(options: argparse.Namespace) -> int:
    """Exit status 0 if this machine can run the operators on the host and in the simulator."""
    if options.rules:
        rules = _native.core().rules()
        print(json.dumps(rules) if options.json else describe_rules(rules))
        return 0
    report = examine()
    if options.bundle:
        print(f"wrote {write_bundle(Path(options.bundle), report)}: {CONTENTS}")
        return 0
    print(json.dumps(report) if options.json else describe(report))
    return 0 if all(report["backends"][name]["works"] for name in ("cpu", "sim")) else 1


def describe_rules(rules: list[dict[str, str]]) -> str:
    rows = (f"{rule['id']} ({rule['severity']}): {rule['statement']} [{rule['page']}]" for rule in rules)
    return "\n".join([f"{len(rules)} rules that the simulator checks", *rows])


def examine() -> dict[str, Any]:
    found = {
        "torch_npu": _package("torch-npu"),
        "cann": _cann(),
        "soc": _soc(),
        "cuda": _cuda(),
        "nvrtc": _package("nvidia-cuda-nvrtc-cu12") or _package("nvidia-cuda-nvrtc"),
        "header_root": _header_root(),
    }
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": default_threads(),
        "torch": torch.__version__,
        "found": found,
        "backends": _backends(found),
        "cuda": cuda.describe(),
        "features": {name: dict(zip(limits.TABLE, cells, strict=True)) for name, cells in limits.table_rows()},
        "advice": _advice(found),
        "socs": _socs(),
    }


def _package(name: str) -> str | None:
    """Version of an installed package; it is not imported, since importing torch_npu without CANN fails."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cann() -> str | None:
    homes = [os.environ[name] for name in CANN_VARIABLES if os.environ.get(name)]
    return next((home for home in homes if Path(home).is_dir()), None)


def _soc() -> str | None:
    if os.environ.get("SOC_VERSION"):
        return os.environ["SOC_VERSION"]
    return "npu-smi is installed: run npu-smi info" if shutil.which("npu-smi") else None


def _cuda() -> str | None:
    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return f"{torch.cuda.get_device_name()}, sm_{major}{minor}"


def _header_root() -> str | None:
    roots = [Path(os.environ[HEADER_ROOT_VARIABLE])] if os.environ.get(HEADER_ROOT_VARIABLE) else []
    cann = _cann()
    roots += [Path(cann) / folder for folder in CANN_HEADER_FOLDERS] if cann else []
    return next((str(root) for root in roots if (root / HEADER).is_file()), None)


def _cpu_kernel() -> str:
    if not _native.is_available():
        return "PyTorch on the host; the native kernel is not built"
    return f"native kernel, {cpu.active_target()}; PyTorch for d above {cpu.MAX_HEAD_DIM}"


def _backends(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {
        "cpu": {"works": True, "detail": _cpu_kernel(), "remedy": ""},
        "sim": {"works": True, "detail": "simulated Ascend 910B; its figures are simulated", "remedy": ""},
    }
    try:
        _native.core()
        load_soc(DEFAULT_SOC)
    except BackendUnavailableError as error:
        rows["sim"] = {"works": False, "detail": str(error), "remedy": _native.REMEDY}
    except ConfigError as error:
        rows["sim"] = {"works": False, "detail": str(error), "remedy": "install the package again"}
    if torch.cuda.is_available():
        rows["cuda"] = {"works": True, "detail": "CUDA tensors; see below", "remedy": ""}
    else:
        detail, remedy = NO_CARD.split("; ", 1)
        rows["cuda"] = {"works": False, "detail": detail, "remedy": remedy}
    rows["npu"] = _npu_row(found)
    return rows


def _npu_row(found: Mapping[str, Any]) -> dict[str, Any]:
    """Whether NPU tensors would find kernels; torch_npu is not imported, so a card that fails is not seen here."""
    if os.environ.get(SETTINGS_VARIABLE):
        return {"works": True, "detail": "a simulated NPU under torch_npu; its figures are simulated", "remedy": ""}
    missing = []
    if not found["torch_npu"]:
        missing.append(("torch_npu is not installed", "pip install 'fastattention-npu[npu]'"))
    if not found["cann"]:
        missing.append(("there is no CANN", "source its set_env.sh"))
    if _native.is_available() and kernels_library() is None:
        missing.append(("the kernels were not built with CANN", "pip install . where ASCEND_HOME_PATH is set"))
    if not missing:
        return {"works": True, "detail": f"kernels for the NPU, torch_npu {found['torch_npu']}", "remedy": ""}
    details, remedies = zip(*missing, strict=True)
    remedy = ", ".join(remedies) + "; without a card: fastattn npu-sim -- PROGRAM"
    return {"works": False, "detail": ", ".join(details), "remedy": remedy}


def _advice(found: Mapping[str, Any]) -> list[str]:
    """What to do about what is missing."""
    advice = []
    if found["torch_npu"] and not found["cann"]:
        advice.append(
            "torch_npu is installed without CANN, so that `import torch` itself can fail: source CANN's set_env.sh, "
            "or set TORCH_DEVICE_BACKEND_AUTOLOAD=0"
        )
    if not found["cann"]:
        advice.append("no CANN: on an Ascend host, source its set_env.sh, which sets ASCEND_HOME_PATH")
    if found["cann"] and not found["soc"]:
        advice.append("the SoC is unknown: set SOC_VERSION, for example SOC_VERSION=Ascend910B2")
    if not found["header_root"]:
        advice.append(
            f"no Ascend C headers: to build kernels against the genuine ones, set {HEADER_ROOT_VARIABLE} to the folder "
            f"of {HEADER}; the embedded simulator does without"
        )
    return advice


def _socs() -> dict[str, Any]:
    """Simulated SoCs and the kinds of their constants."""
    try:
        names = [name for name in config_names("soc") if name.startswith("ascend")]
        return {"folder": str(config_root() / "soc")} | {name: load_soc(name).kinds() for name in names}
    except ConfigError as error:
        return {"error": str(error)}


def _feature_table(features: Mapping[str, Mapping[str, str]]) -> str:
    """The table of limits; what does not fit a column (notes) goes by backend below it."""
    notes = features["also"]
    rows = [(name, *(cells[backend] for backend in notes)) for name, cells in features.items() if name != "also"]
    lines = [table(("", *notes), rows), *(f"{backend}: {text}" for backend, text in notes.items() if text)]
    return "\n".join(lines)


def describe(report: Mapping[str, Any]) -> str:
    versions = f"fastattention-npu {report['version']}, Python {report['python']}, torch {report['torch']}"
    lines = [
        f"{versions}, {report['platform']}, {report['cpus']} CPUs",
        "found on this machine",
        *(f"  {name:<12} {value or 'none'}" for name, value in report["found"].items()),
        "backends",
    ]
    for name, row in report["backends"].items():
        remedy = f"; {row['remedy']}" if row["remedy"] and not row["works"] else ""
        lines.append(f"  {name:<6} {'works' if row['works'] else 'no   '}  {row['detail']}{remedy}")
    lines.append("attention on CUDA tensors")
    lines += [f"  {name:<19} {value}" for name, value in report["cuda"].items()]
    lines.append("what each backend takes")
    lines += indent(_feature_table(report["features"])).split("\n")
    lines.append("simulated SoCs and where their constants come from")
    for name, kinds in report["socs"].items():
        text = ", ".join(f"{n} {kind}" for kind, n in kinds.items()) if isinstance(kinds, dict) else kinds
        lines.append(f"  {name:<12} {text}")
    if report["advice"]:
        lines += ["what to do about the rest", indent("\n".join(report["advice"]))]
    return "\n".join(lines)
