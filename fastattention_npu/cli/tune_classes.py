"""`fastattn tune --all`: the tilings that ship for a SoC, a file a class; what stands already is not made again."""

import argparse
import math
import time
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

from .. import tuning
from ..bench.progress import progress
from ..class_tuning import ClassShape, ClassTuned, classes, tune_class
from ..config import SocConfig, load_soc, load_tiling
from ..errors import ConfigError, Reason, did_you_mean
from ..sim.launch import default_threads
from ..yaml_file import config_root, read_mapping
from .text import table
from .tiling_file import write_tiling

Of = TypeVar("Of")
HEADER = ["class", "gain", "smallest", "largest", "used for", "tilings"]


def command(options: argparse.Namespace) -> int:
    """One class after the other, its simulations in parallel; a file is written as soon as its class is done."""
    soc = load_soc(options.soc)
    folder = options.output or config_root() / "tiling" / soc.name
    todo = chosen_classes(options.classes, classes())
    commit = tuning.commit_of_checkout()
    if options.like:
        check_like(options.like, todo)
    shipped = shipped_tilings(options.like or soc.name)
    rows = []
    for number, (name, problems) in enumerate(todo.items(), 1):
        path = folder / f"{name}.yaml"
        what = f"{number}/{len(todo)} {name}"
        if not options.again and is_made(path, commit):
            rows.append((name, read_mapping(path)["tuned"]))
            print(f"{what}: stands already, made with {commit}", flush=True)
            continue
        start_s = time.monotonic()
        known: list[tuning.Fields] | None = [] if options.like else None  # nothing but what ships
        also = shipped[problems[0]["d"]]
        tuned = tune_class(
            problems, soc.values(), options.threads or default_threads(), bar(what), known=known, also=also
        )
        row = record(name, soc, tuned, commit)
        if options.like not in (None, soc.name):
            row["searched_on"] = options.like
        write_tiling(path, row, tuned.fields)
        rows.append((name, row))
        seconds = time.monotonic() - start_s
        print(f"{what}: gain {row['gain']:.3f}, {row['simulated_tilings']} simulations, {seconds:.0f} s", flush=True)
    print(f"{soc.name}, simulated; gain: cycles of op_host's own choice over those of the shipped tiling")
    print(table(HEADER, [summary(name, row) for name, row in rows]))
    return 0


def shipped_tilings(soc: str) -> dict[int, list[tuning.Fields]]:
    """By head dim, what ships for any class of a SoC: a search from the model's best may miss it."""
    found: dict[int, list[tuning.Fields]] = {}
    for name, problems in classes().items():
        path = file_of(soc, name)
        alike = found.setdefault(problems[0]["d"], [])
        fields = {key: int(value) for key, value in load_tiling(path).fields.items()} if path.is_file() else {}
        if fields and fields not in alike:
            alike.append(fields)
    return found


def file_of(soc: str, name: str) -> Path:
    return config_root() / "tiling" / soc / f"{name}.yaml"


def check_like(soc: str, names: Iterable[str]) -> None:
    """ConfigError, with every reason, for a SoC that does not ship the classes."""
    reasons = [
        Reason("--like", soc, f"a SoC with {path}", f"make it first: fastattn tune --all --soc {soc} --classes {name}")
        for name in names
        if not (path := file_of(soc, name)).is_file()
    ]
    if reasons:
        raise ConfigError("no tiling to start from", reasons)


def chosen_classes(patterns: Iterable[str], known: Mapping[str, Of]) -> dict[str, Of]:
    """The classes that match one of the patterns; ConfigError for a pattern that matches none."""
    reasons = [
        Reason("--classes", pattern, f"one of {', '.join(known)} or a pattern of them",
               did_you_mean(pattern, known, "name a class"))
        for pattern in patterns
        if not any(fnmatch(name, pattern) for name in known)
    ]  # fmt: skip
    if reasons:
        raise ConfigError("no such class of shapes", reasons)
    return {name: x for name, x in known.items() if any(fnmatch(name, pattern) for pattern in patterns)}


def is_made(path: Path, commit: str) -> bool:
    """Whether the file of a class was made with the kernel, op_host and simulator of this commit."""
    if not path.is_file() or commit == "unknown" or commit.endswith("+"):
        return False
    tuned = read_mapping(path).get("tuned")
    return isinstance(tuned, dict) and tuned.get("commit") == commit


def bar(what: str) -> tuning.Follow:
    return lambda items, total: progress(items, total, what)


def record(name: str, soc: SocConfig, tuned: ClassTuned, commit: str) -> dict[str, Any]:
    """What the file of a class says about its origin."""
    return {
        "shape_class": name,
        "soc": soc.name,
        "gain": round(tuned.gain, 4),
        "modelled_over_own": math.ceil(tuned.bound * 1e4) / 1e4,  # the bound of its use
        "shapes": [shape_record(shape, tuned.bound) for shape in tuned.shapes],
        "simulated_tilings": tuned.simulated,
        "commit": commit,
    }


def shape_record(shape: ClassShape, bound: float) -> dict[str, Any]:
    """simulated_cycles: of the tiling where it is used, of op_host's own choice elsewhere; _before: of the latter."""
    used = shape.used(bound)
    return {
        **{key: shape.problem[key] for key in ("s_kv", "h_q", "h_kv")},
        "used": used is not shape.own,
        "modelled_cycles": round(used.modelled),
        "simulated_cycles": round(used.simulated),
        "simulated_cycles_before": round(shape.own.simulated),
    }


def summary(name: str, row: dict[str, Any]) -> list[Any]:
    gains = [shape["simulated_cycles_before"] / shape["simulated_cycles"] for shape in row["shapes"]]
    used = sum(shape["used"] for shape in row["shapes"])
    figures = [row["gain"], min(gains), max(gains)]
    return [name, *(f"{x:.3f}" for x in figures), f"{used} of {len(gains)} shapes", row["simulated_tilings"]]
