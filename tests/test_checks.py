"""Canaries of the checkers in scripts/: each must report the mistake that it is there to find."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"
COMPILER = os.environ.get("CXX", "g++")


def test_a_header_that_needs_its_includer_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import check_self_contained

    (tmp_path / "op_host").mkdir()
    (tmp_path / "op_host" / "good.h").write_text("#pragma once\n#include <cstdint>\nuint32_t Rows();\n")
    (tmp_path / "op_host" / "bad.h").write_text("#pragma once\nstd::vector<int> Rows();\n")
    (tmp_path / "op_host" / "unguarded.h").write_text("struct Rows {};\n")
    assert check_self_contained.compile_alone("op_host/good.h", tmp_path) == ""
    assert "std" in check_self_contained.compile_alone("op_host/bad.h", tmp_path)
    assert "redefinition" in check_self_contained.compile_alone("op_host/unguarded.h", tmp_path)


@pytest.mark.parametrize(("linkage", "status"), [("inline", 1), ("static", 0)])
def test_a_shared_function_in_the_hot_loops_is_reported(tmp_path: Path, linkage: str, status: int) -> None:
    folder = tmp_path / "CMakeFiles" / "sim_lanes_v3.dir"
    folder.mkdir(parents=True)
    source = tmp_path / "lanes.cpp"
    source.write_text(
        f"__attribute__((noinline)) {linkage} int Twice(int x) {{ return 2 * x; }}\n"
        "namespace v3 { int Loop(int x) { return Twice(x) + 1; } }\n"
    )
    subprocess.run([COMPILER, "-O1", "-c", source, "-o", folder / "lanes.cpp.o"], check=True)
    done = subprocess.run(
        [sys.executable, SCRIPTS / "check_lanes.py", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert ("Twice" in done.stdout) == bool(status)
