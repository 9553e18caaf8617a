"""SoC files: the chip's constants, each with its kind (vendor, measured, fitted, assumed) and source.

A SoC file names an architecture file beside it and adds or overrides constants. Which constants there must be is the
native module's to say (op_host/soc_spec.cpp).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ._native import core, is_available
from .errors import ConfigError, Reason, did_you_mean, unknown_name
from .yaml_file import config_names, find_config, read_mapping

KINDS = ("vendor", "measured", "fitted", "assumed")
ENTRY_KEYS = ("value", "kind", "source")


@dataclass(frozen=True)
class Constant:
    """One number of the machine model; `file` is where it stands."""

    value: float
    kind: str
    source: str
    file: str


@dataclass(frozen=True)
class SocConfig:
    """A SoC: constants by dotted key, as in "memory.l1_bytes"."""

    name: str
    architecture: str
    constants: Mapping[str, Constant]

    def values(self) -> dict[str, Any]:
        """The flat form that the native module takes: the name and dotted keys to floats."""
        return {"name": self.name} | {key: constant.value for key, constant in self.constants.items()}

    def __getitem__(self, key: str) -> float:
        return self.constants[key].value

    def kinds(self) -> dict[str, int]:
        """How many constants are of each kind."""
        found = [constant.kind for constant in self.constants.values()]
        return {kind: found.count(kind) for kind in KINDS}


def load_soc(name_or_path: str | Path) -> SocConfig:
    """Reads a SoC, given as a name (ascend910b2) or as the path of a file whose architecture file is found beside it or
    among the package's own."""
    path = find_config("soc", name_or_path)
    if not path.exists():
        names = [name for name in config_names("soc") if name.startswith("ascend")]
        remedy = did_you_mean(str(name_or_path), names, "give one of these, or the path of a SoC file")
        raise ConfigError(f"unknown SoC {name_or_path}: no such file; known SoCs: {', '.join(names)}; {remedy}")
    top = read_mapping(path)
    reasons: list[Reason] = []
    name, architecture = (_text(key, top.pop(key, None), reasons) for key in ("name", "architecture"))
    if reasons:
        raise ConfigError(f"{path}: not a usable SoC file", reasons)
    constants: dict[str, Constant] = {}
    for file, groups in ((_architecture_file(path, architecture), None), (path, top)):
        groups = read_mapping(file) if groups is None else groups
        constants |= _constants(groups, file)
    if is_available():
        _check_fields(constants, path)
    return SocConfig(name, architecture, constants)


def _text(key: str, value: Any, reasons: list[Reason]) -> str:
    if not isinstance(value, str) or not value:
        reasons.append(Reason(key, "missing" if value is None else repr(value), "a name", f"add {key}: <name>"))
    return str(value)


def _architecture_file(path: Path, architecture: str) -> Path:
    beside = path.with_name(f"{architecture}.yaml")
    return beside if beside.exists() else find_config("soc", architecture)


def _constants(groups: Mapping[str, Any], file: Path) -> dict[str, Constant]:
    """Constants of one file by dotted key."""
    found: dict[str, Constant] = {}
    reasons: list[Reason] = []
    for group, rows in groups.items():
        if not isinstance(rows, dict):
            reasons.append(Reason(group, repr(rows), "a group of constants", "write group: {name: {value, ...}}"))
            continue
        for name, entry in rows.items():
            key = f"{group}.{name}"
            bad = _entry_reasons(key, entry)
            reasons += bad
            if not bad:
                found[key] = Constant(float(entry["value"]), entry["kind"], entry["source"], str(file))
    if reasons:
        raise ConfigError(f"{file}: not a usable SoC file", reasons)
    return found


def _entry_reasons(key: str, entry: Any) -> list[Reason]:
    shape = "{value: number, kind: one of " + ", ".join(KINDS) + ", source: text}"
    if not isinstance(entry, dict):
        return [Reason(key, repr(entry), shape, "add its kind and source")]
    reasons = [
        replace(unknown_name(name, repr(value), ENTRY_KEYS, "key"), name=f"{key}.{name}")
        for name, value in entry.items()
        if name not in ENTRY_KEYS
    ]
    value = entry.get("value")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        reasons.append(Reason(f"{key}.value", repr(value), "a finite number, at least 0", "write the constant"))
    if entry.get("kind") not in KINDS:
        reasons.append(Reason(f"{key}.kind", repr(entry.get("kind")), f"one of {', '.join(KINDS)}", "say which it is"))
    if not isinstance(entry.get("source"), str) or not entry["source"]:
        reasons.append(Reason(f"{key}.source", repr(entry.get("source")), "a text", "say where the value comes from"))
    return reasons


def _check_fields(constants: Mapping[str, Constant], path: Path) -> None:
    fields = core().soc_fields()
    unknown = [
        Reason(key, constants[key].value, "a known constant", did_you_mean(key, fields, "remove this constant"))
        for key in constants
        if key not in fields
    ]
    reasons = unknown + [
        Reason(key, "missing", "a constant of the SoC or of its architecture", f"add it to {path.name}")
        for key in fields
        if key not in constants
    ]
    if reasons:
        known = f"the known constants are {', '.join(fields)}; " if unknown else ""
        stale = "if the file is right, the native module was built from other sources: build it again"
        raise ConfigError(f"{path}: not a usable SoC file; {known}{stale}", reasons)
