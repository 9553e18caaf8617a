"""Builds tests/kernels once and runs its kernels: what the tests of the rules share."""

import functools
import hashlib
import os
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastattention_npu import _core
from tests.planning import SOC

ROOT = Path(__file__).parent.parent
KERNELS = ROOT / "tests" / "kernels"
GM_BYTES = 65536
RULES = {row["id"]: row for row in _core.rules()}


@functools.cache
def compiled() -> str | subprocess.CalledProcessError:
    """The rule kernels as a shared library; compiled again when a source changes. A failure is kept, not repeated."""
    try:
        return build()
    except subprocess.CalledProcessError as error:
        return error


def library() -> str:
    built = compiled()
    if isinstance(built, subprocess.CalledProcessError):
        raise built
    return built


def build() -> str:
    sim = ROOT / "fastattention_npu" / "sim"
    sources = sorted(KERNELS.glob("*.cpp"))
    headers = [*KERNELS.glob("*.h"), *(sim / "ascendc").glob("*.h"), *(sim / "isa").glob("*.h")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted([*sources, *headers]))).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"fastattn_rule_kernels_{os.getuid()}"
    folder.mkdir(exist_ok=True)
    built = folder / f"{digest}.so"
    if not built.exists():
        compiler = os.environ.get("CXX", "c++")
        flags = ["-std=c++17", "-O0", "-fPIC", f"-I{ROOT}", f"-I{sim / 'ascendc'}"]
        objects = [folder / f"{digest}_{source.stem}.o" for source in sources]
        with ThreadPoolExecutor() as pool:
            jobs = [[compiler, *flags, "-c", str(s), "-o", str(o)] for s, o in zip(sources, objects, strict=True)]
            list(pool.map(functools.partial(subprocess.run, check=True), jobs))
        partial = folder / f"{digest}.{os.getpid()}"
        simulator = Path(_core.__file__).parent / "libascend_sim.so"
        link = ["-shared", *map(str, objects), str(simulator), f"-Wl,-rpath,{simulator.parent}", "-o", str(partial)]
        subprocess.run([compiler, *link], check=True)
        partial.replace(built)
    return str(built)


class Result:
    """What a rule kernel left behind."""

    def __init__(self, report: dict[str, Any], out: np.ndarray):
        self.findings: list[str] = report["hazards"] + report["warnings"]
        self.cycles: float = report["cycles"]
        self.out = out


def run(
    kernel: str,
    kind: str = "aiv",
    variant: int = 0,
    block_dim: int = 1,
    threads: int = 1,
    data: np.ndarray | None = None,
    ranks: int = 1,
) -> Result:
    """The input starts with data and goes on with ones in fp32; the output is zero, the workspace unwritten. Each of
    the ranks has an equal share of all three."""
    memory = {name: np.zeros(GM_BYTES // 4 + 128, np.float32) for name in ("in", "out", "workspace")}
    # GM buffers start at whole cache lines.
    tensors = {n: m[-(m.ctypes.data // 4) % 128 :][: GM_BYTES // 4] for n, m in memory.items()}
    tensors["in"][:] = 1
    if data is not None:
        tensors["in"].view(data.dtype)[: data.size] = data.ravel()
    operands = {name: (t.ctypes.data, t.nbytes) for name, t in tensors.items()}
    report = _core.simulate_test_kernel(SOC, library(), kernel, operands, block_dim, kind, variant, threads, ranks)
    return Result(report, tensors["out"])


def broken(rule: str, *args: Any, **kwargs: Any) -> str:
    """The text of the findings that the kernel must give, which must name the rule, its severity and its page."""
    row = RULES[rule]
    tag = f"[{row['severity']} {rule}; page: {row['page']}]"
    if row["severity"] == "error":
        with pytest.raises(_core.SimulatorError) as caught:
            run(*args, **kwargs)
        text = str(caught.value)
    else:
        findings = run(*args, **kwargs).findings
        assert findings, f"nothing was found; {rule} was expected"
        text = "\n".join([f for f in findings if tag in f] or findings)
    assert tag in text, text
    if "kernel exit" not in text:
        assert re.search(r"tests/kernels/\w+\.(cpp|h):\d+", text), text
    return text
