"""Per-pipe cycles out of what `msopprof simulator` leaves behind.

Under OPPROF_<time>_<id>/simulator each core has a folder (core0.veccore1, core0.cubecore0) with a table of its
instructions, <core>_instr_exe.csv: instr, addr, pipe, call_count, cycles, running_time(us), detail. Format: MindStudio
documentation, "Code Instruction Information File".
"""

import csv
import re
from collections import defaultdict
from pathlib import Path

NEEDED = ("pipe", "cycles")
# msopprof's names of pipes -> the embedded simulator's
PIPES = {
    "SCALAR": "scalar",
    "VECTOR": "vector",
    "VEC": "vector",
    "CUBE": "cube",
    "MMAD": "cube",
    "MTE1": "mte1",
    "MTE2": "mte2",
    "MTE3": "mte3",
    "FIXP": "fixpipe",
    "FIXPIPE": "fixpipe",
}


class BadProfileError(Exception):
    """A profile that is not there, or not in the documented format."""


def kind_of_core(folder: str) -> str:
    match = re.fullmatch(r"core\d+\.(cube|vec)core\d+", folder)
    if match is None:
        raise BadProfileError(f"{folder} is not named as a core's folder: core0.cubecore0, core0.veccore1, ...")
    return {"cube": "aic", "vec": "aiv"}[match[1]]


def instruction_cycles(table: Path) -> dict[str, int]:
    """Cycles by pipe, under the embedded simulator's names, of one core."""
    cycles: dict[str, int] = defaultdict(int)
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        missing = [name for name in NEEDED if name not in (rows.fieldnames or ())]
        if missing:
            raise BadProfileError(f"{table}: no column {', '.join(missing)} among {rows.fieldnames}")
        for row in rows:
            pipe = row["pipe"].strip().upper()
            try:
                cycles[PIPES.get(pipe, pipe)] += int(float(row["cycles"]))
            except (TypeError, ValueError) as error:
                raise BadProfileError(
                    f"{table}, line {rows.line_num}: cycles = {row['cycles']!r}, no number"
                ) from error
    return dict(cycles)


def profile_cycles(output: Path) -> dict[str, dict[str, int]]:
    """core -> pipe -> cycles, of the newest profile below `output`."""
    profiles = sorted(output.glob("OPPROF_*/simulator"), key=lambda path: path.stat().st_mtime)
    if not profiles:
        raise BadProfileError(f"no OPPROF_*/simulator in {output}: the profiler wrote nothing")
    cores = {}
    for table in sorted(profiles[-1].glob("core*/*_instr_exe*.csv")):
        kind_of_core(table.parent.name)
        cores[table.parent.name] = instruction_cycles(table)
    if not cores:
        raise BadProfileError(f"no core*/*_instr_exe.csv in {profiles[-1]}")
    return cores


def busiest(cores: dict[str, dict[str, int]]) -> dict[str, int]:
    """kind.pipe -> cycles, of the core of that kind whose pipe is busiest: what bounds the launch."""
    most: dict[str, int] = defaultdict(int)
    for core, pipes in cores.items():
        for pipe, cycles in pipes.items():
            name = f"{kind_of_core(core)}.{pipe}"
            most[name] = max(most[name], cycles)
    return dict(most)
