"""`fastattn doctor --bundle FILE.zip`: a small archive for a bug report, without user data.

It holds what a maintainer asks first: versions, the SoC, which parts work, and the self-test with its timings. It holds
no path, no host or user name, no environment variable and no tensor: everything is picked by name from what is known.
"""

import json
import platform
import re
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from ..dispatch import make_backend
from ..errors import ConfigError

PACKAGES = ("torch", "torch-npu", "numpy", "fastattention-npu")
CONTENTS = "versions, the SoC, what works, and the self-test of each backend; look into it before you send it"
CARD = re.compile(r"\| *\d+ +((?:Ascend)?[0-9][0-9A-Za-z_]*) *\| *(OK|Warning|Alarm|Critical)")
CANN_VERSION = re.compile(r"^version *= *([0-9A-Za-z.]+)\s*$", re.M | re.I)
CANN_FILES = ("*-linux/ascend_toolkit_install.info", "version.cfg", "compiler/version.info", "*/version.info")


def write_bundle(path: Path, report: Mapping[str, Any]) -> Path:
    """Writes the archive; `report` is doctor's."""
    if not path.parent.is_dir():
        raise ConfigError(f"cannot write {path}: there is no folder {path.parent}")
    files = {"versions.json": versions(report), "backends.json": backends(report), "selftest.json": selftests(report)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, json.dumps(content, indent=1, sort_keys=True))
    return path


def versions(report: Mapping[str, Any]) -> dict[str, Any]:
    found = report["found"]
    return {
        "fastattention_npu": report["version"],
        "python": report["python"],
        "machine": f"{platform.system()} {platform.machine()}",
        "cpus": report["cpus"],
        "packages": {name: _version(name) for name in PACKAGES},
        "cann": cann_version(found["cann"]),
        "soc_version_variable": found["soc"] if found["soc"] and re.fullmatch(r"\w+", found["soc"]) else None,
        "cards": cards(),
        "cuda": found["cuda"],
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cann_version(home: str | None) -> str | None:
    """The version that the toolkit's own files state, or "unknown"; None without a toolkit."""
    if home is None:
        return None
    for pattern in CANN_FILES:
        for file in sorted(Path(home).glob(pattern)):
            match = CANN_VERSION.search(file.read_text(encoding="utf-8", errors="replace"))
            if match:
                return match[1]
    return "unknown"


def cards() -> list[dict[str, str]]:
    """Name and health of each card; the rest of what npu-smi prints, such as process names, is left out."""
    if shutil.which("npu-smi") is None:
        return []
    done = subprocess.run(["npu-smi", "info"], capture_output=True, text=True, check=False)
    return [{"name": name, "health": health} for name, health in CARD.findall(done.stdout)]


def backends(report: Mapping[str, Any]) -> dict[str, bool]:
    return {name: row["works"] for name, row in report["backends"].items()}


def selftests(report: Mapping[str, Any]) -> dict[str, Any]:
    """Self-test of every backend that works; what stops one stands in its place, less what may hold a path."""
    from .selftest import selftest

    results: dict[str, Any] = {}
    for name in ("sim", "npu"):
        if not report["backends"][name]["works"]:
            results[name] = f"does not work here: {without_paths(report['backends'][name]['detail'])}"
            continue
        try:
            results[name] = selftest(make_backend(name))
        except Exception as error:  # whatever it is, it is what the report is for
            results[name] = f"{type(error).__name__}: {without_paths(str(error))}"
    return results


def without_paths(text: str) -> str:
    return re.sub(r"(?<!\w)(?:~\w*)?/[^\s:;,'\"]+", "<path>", text)[:4000]
