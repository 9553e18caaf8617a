"""Unit flags: what they let Mmad and Fixpipe do, in order and in time. What they forbid stands in test_rules.py."""

import numpy as np
import pytest

from tests.planning import SOC
from tests.rule_kernels import run

SIDE, FRACTALS = 64, 16
FRACTAL_CYCLES = SIDE // 16 * SOC["cube.fractal_cycles"]
FIX_CYCLES = SIDE * SIDE * 2 / SOC["fixpipe.gm_bytes_per_cycle"]


@pytest.mark.parametrize("kernel", ["unit_flag", "unit_flag_queued", "unit_flag_order", "unit_flag_reset"])
def test_kept_rule_gives_no_finding(kernel: str) -> None:
    assert run(kernel, "aic").findings == []


def test_the_second_mmad_waits_for_the_fixpipe_issued_after_it() -> None:
    halves = np.ones((SIDE, SIDE), np.float16)
    out = run("unit_flag_queued", "aic", data=halves).out
    tiles = out[: 2 * SIDE * SIDE].reshape(2, SIDE, SIDE)
    assert (tiles[0] == SIDE).all()
    assert (tiles[1] == SIDE // 2).all()  # of half the depth


def test_fixpipe_follows_its_mmad_unit_by_unit() -> None:
    flag, columns, rows = (run("unit_flag_time", "aic", variant).cycles for variant in range(3))
    # Along the rows, as the Fixpipe reads: it is slower than the cube and waits for the first 512 B alone. Its head
    # runs meanwhile.
    mmad = SOC["cube.head_cycles"] + FRACTALS * FRACTAL_CYCLES
    first = SOC["cube.head_cycles"] + FRACTAL_CYCLES / 2
    saved = mmad + SOC["sync.flag_cycles"] + SOC["fixpipe.head_cycles"] - first
    assert flag - rows == pytest.approx(saved, abs=4)
    # Down the columns the end of its first row is there when three strips and a fractal are.
    late = SOC["cube.head_cycles"] + 13 * FRACTAL_CYCLES + FIX_CYCLES * (FRACTALS - 3.5) / FRACTALS
    assert columns - rows == pytest.approx(late - (first + FIX_CYCLES), abs=1)
