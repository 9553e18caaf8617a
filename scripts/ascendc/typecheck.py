"""Type-checks kernels against Ascend C headers, once for each kind of core, and distrusts a pass that found nothing."""

import re
from pathlib import Path

from callgraph import CallGraph, entries
from toolchain import CORES, ROOT, Toolchain

# What every kernel for a kind of core comes down to. A pass that lacks one has not instantiated the kernel.
ESSENTIAL = {
    "aic": (r"mad", r"copy_gm_to_cbuf\w*", r"copy_matrix_cc_to_\w+", r"set_flag", r"wait_flag"),
    "aiv": (r"v[a-z]\w+", r"copy_gm_to_ubuf\w*", r"copy_ubuf_to_gm\w*", r"set_flag", r"wait_flag"),
}
# Kernels, by the start of their names, that are not a whole operator for both kinds of core.
ESSENTIAL_OF: dict[str, dict[str, tuple[str, ...]]] = {
    "matmul": {"aiv": ()},
    "standard_scores": {"aiv": ()},
    "standard_softmax": {"aic": ()},
    "standard_output": {"aiv": ()},
    "add_bench": {"aic": ()},
    "append_kv_cache": {"aic": (), "aiv": (r"copy_gm_to_ubuf\w*", r"copy_ubuf_to_gm\w*", r"set_flag", r"wait_flag")},
    "copy_bench": {"aic": (r"copy_gm_to_cbuf\w*",), "aiv": (r"copy_gm_to_ubuf\w*",)},
    "mmad_bench": {"aic": (r"mad",), "aiv": ()},
    "vector_bench": {"aic": (), "aiv": (r"v[a-z]\w+", r"pipe_barrier")},
}
# Kernels, by file, that the check cannot compile.
LEFT_OUT = {
    "attention_linear_allreduce": "Hccl is part of the advanced API, whose headers only CANN's build completes",
}
KINDS = {"__cube__": ("aic",), "__vector__": ("aiv",)}  # qualifier of an entry for one kind only
ENTRY = re.compile(r"__global__\s+(?:__\w+__(?:\s*\([^)]*\))?\s+)*void\s+([\w#]+)\s*\(")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
LITERAL = re.compile(r'"(?:[^"\\\n]|\\.)*"')
HARMLESS_LITERAL = re.compile(r'^\s*#|extern\s+"C"|static_assert')


def kernels(folder: Path = ROOT / "op_kernel") -> list[Path]:
    paths = sorted(path for path in folder.rglob("*.cpp") if path.stem not in LEFT_OUT)
    return [path for path in paths if ENTRY.search(code_of(path))]


def code_of(path: Path) -> str:
    return COMMENT.sub(lambda m: "\n" * m[0].count("\n"), path.read_text(encoding="utf-8"))


def check_kernel(tools: Toolchain, source: Path) -> list[str]:
    """Complaints about one kernel file; empty if there are none."""
    code = code_of(source)
    cores = next((cores for word, cores in KINDS.items() if word in code), tuple(CORES))
    complaints = [] if ENTRY.search(code) else [f"{source.name}: no __global__ entry found, so nothing was checked"]
    for core in cores:
        errors = tools.compile(source, core, "typecheck.h", "-fsyntax-only")
        if not errors:
            text = tools.work / f"{source.stem}.{core}.ll"
            errors = tools.compile(source, core, "over_isa.h", "-S", "-emit-llvm", "-O0", "-o", str(text))
        complaints += [f"{core} pass: {error.text}" for error in errors]
        if not errors:
            found = entries(text)
            complaints += [] if found else [f"{core} pass: {source.name}: no entry was compiled"]
            for entry in found:
                graph = CallGraph(text, entry)
                complaints += [f"{core} pass: {entry}: {c}" for c in check_instances(graph, essential_of(entry, core))]
    return complaints


def essential_of(entry: str, core: str) -> tuple[str, ...]:
    special = next((row for start, row in ESSENTIAL_OF.items() if entry.startswith(start)), {})
    return special.get(core, ESSENTIAL[core])


def check_instances(graph: CallGraph, essential: tuple[str, ...]) -> list[str]:
    """The pass must have instantiated the kernel, and no call may have come to nothing."""
    reached = graph.instructions()
    missing = [p for p in essential if not any(re.fullmatch(p, name) for name in reached)]
    if missing:
        return [f"instantiated nothing that matches {', '.join(missing)} (reached: {', '.join(sorted(reached))})"]
    return [f"{call}: compiles to nothing on dav-2201" for call in graph.silent_calls()]


def literals(files: list[Path]) -> list[str]:
    """String literals in device code: they lie in GM there, where no plain pointer reaches."""
    return [
        f"{path}:{number}: string literal in device code: {line.strip()}"
        for path in files
        for number, line in enumerate(code_of(path).splitlines(), 1)
        if LITERAL.search(line) and not HARMLESS_LITERAL.search(line)
    ]
