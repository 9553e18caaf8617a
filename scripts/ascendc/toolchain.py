"""A compiler for Ascend C without CANN: clang, a header root that stays untouched, and stand-ins of our own.

Vendor headers lower every call to compiler intrinsics that clang does not know. They are declared as the diagnostics
name them, which works for any version of the headers; names that the kernels misspell are not, because only locations
inside the header root count.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
CLANGS = ("clang++-19", "clang++-20", "clang++-21", "clang++-22", "clang++")
OLDEST_CLANG = 19
CORES = {"aic": "CUBE", "aiv": "VEC"}  # kind of core: how the macros call it
MACROS = ("__NPU_ARCH__=2201", "__DAV_C220__", "__NPU_DEVICE__", "__CCE_AICORE__=220")
# Debug printing is left out: its overloads differ in nothing but the memory of a pointer.
PRINTING = "impl/utils/debug/asc_aicore_dump_impl.h"
ROUNDS = 10

# Intrinsics that return something; the others are declared void, since the headers return their calls from void.
VALUED = re.compile(r"(get_|__get_|sff|sbit|bcnt|clz|sflbits|ld_dev|conv_|create_|vld_|mem_)")
UNKNOWN_NAME = re.compile(r"error: use of undeclared identifier '(\w+)'")
UNKNOWN_MEMBER = re.compile(r"error: no (?:member|type) named '(\w+)' in namespace '([\w:]+)'")
# A literal lies in GM for CANN's compiler and nowhere for clang; a kernel's own literals are found by the lint.
LITERAL = re.compile(r"const char ?\[\d+\]|from 'const char \*' to|argument[s]? .*__gm__ char")


class Missing(Exception):  # noqa: N818
    """No compiler or no headers: what to do about it."""


def find_clang() -> str:
    wanted = os.environ.get("CLANG")
    for name in (wanted,) if wanted else CLANGS:
        path = shutil.which(name)
        if path and int(subprocess.check_output([path, "-dumpversion"], text=True).split(".")[0]) >= OLDEST_CLANG:
            return path
    raise Missing(f"needs clang {OLDEST_CLANG} or newer: apt-get install clang-{OLDEST_CLANG}, or set CLANG")


def find_headers(given: str | None) -> Path:
    """The folder with include/ and impl/: in the given root, else ASCENDC_HEADERS, else the installed CANN."""
    named = given or os.environ.get("ASCENDC_HEADERS") or os.environ.get("ASCEND_HOME_PATH")
    if not named:
        raise Missing("needs Ascend C headers: --ascendc ROOT or ASCENDC_HEADERS, the folder with include/ and impl/")
    root = Path(named).resolve()
    for folder in (root, root / "asc", *sorted(root.glob("*-linux/asc"))):
        if (folder / "include/kernel_operator.h").is_file() and (folder / "impl/basic_api").is_dir():
            return folder
    raise Missing(f"no include/kernel_operator.h and impl/basic_api in {root}, its asc/ or its *-linux/asc/")


@dataclass
class Diagnostic:
    file: str
    text: str  # headline and notes


@dataclass
class Toolchain:
    headers: Path
    work: Path  # a folder for generated files
    clang: str = field(default_factory=find_clang)
    known: dict[tuple[str, str], set[tuple[str, str]]] = field(default_factory=dict)  # stubs by core and prelude

    def __post_init__(self) -> None:
        """Shadows the advanced API, which needs tiling headers that only CANN's build generates, with empty files."""
        entry = self.headers / "include/basic_api/kernel_operator_intf.h"
        for name in re.findall(r'#include "(include/adv_api/[^"]+)"', entry.read_text(encoding="utf-8")):
            shadow = self.work / "shadow" / name
            shadow.parent.mkdir(parents=True, exist_ok=True)
            shadow.touch()

    def flags(self, core: str, prelude: str) -> list[str]:
        kind = CORES[core]
        macros = [*MACROS, f"__DAV_{kind}__", f"__DAV_C220_{kind}__"]
        printing = re.search(r"#ifndef (\w+IMPL_H)", self._text(PRINTING))
        if printing:
            macros.append(printing[1])
        folders = ["", "include", "include/basic_api", "include/utils", "impl", "impl/basic_api"]
        return [
            *("-std=c++17", "-ferror-limit=0", "-fno-caret-diagnostics", "-fno-exceptions"),
            "-Wno-unknown-attributes",
            *(f"-D{name}" for name in macros),
            *(f"-I{path}" for path in (self.work / "shadow", *(self.headers / name for name in folders), ROOT)),
            *("-include", str(HERE / prelude)),
        ]

    def _text(self, name: str) -> str:
        path = self.headers / name
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def compile(self, source: Path, core: str, prelude: str, *options: str) -> list[Diagnostic]:
        """Compiles one kernel; the errors that remain once every intrinsic is declared."""
        stubs = self.known.setdefault((core, prelude), set())
        header = self.work / f"{source.stem}.{core}.{Path(prelude).stem}.stubs.h"
        for _ in range(ROUNDS):
            header.write_text(declare(stubs, prelude), encoding="utf-8")
            command = [self.clang, *self.flags(core, prelude), "-include", str(header), *options, str(source)]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
            errors = split(done.stderr)
            unknown = {name for e in errors if self.owns(e.file) for name in unknown_names(e.text)} - stubs
            if not unknown:
                return [e for e in errors if not (self.owns(e.file) and LITERAL.search(e.text))]
            stubs |= unknown
        raise RuntimeError(f"{source.name}: new unknown names after {ROUNDS} rounds: {sorted(unknown)}")

    def link(self, library: Path, inputs: list[str]) -> None:
        subprocess.run([self.clang, "-shared", "-Wl,-z,defs", "-o", str(library), *inputs], check=True)

    def owns(self, file: str) -> bool:
        return Path(os.path.normpath(file)).is_relative_to(self.headers)


def unknown_names(text: str) -> set[tuple[str, str]]:
    """(namespace, name) of what the compiler did not know."""
    headline = text.splitlines()[0]
    if found := UNKNOWN_NAME.search(headline):
        return {("", found[1])}
    if found := UNKNOWN_MEMBER.search(headline):
        return {(found[2], found[1])}
    return set()


def declare(stubs: set[tuple[str, str]], prelude: str) -> str:
    """Takes any arguments; in the simulator a call is refused."""
    lines = ["#pragma once\n"]
    for scope, name in sorted(stubs):
        returns = "int64_t" if VALUED.match(name) else "void"
        body = ";"
        if prelude == "over_isa.h":
            value = " return 0;" if returns == "int64_t" else ""
            body = f' {{ ascend_sim::Refuse("{name} is not simulated");{value} }}'
        stub = f"template <class... A> {returns} {name}(A...){body}"
        lines.append(f"namespace {scope} {{ {stub} }}\n" if scope else f"{stub}\n")
    return "".join(lines)


def split(stderr: str) -> list[Diagnostic]:
    """Errors with their notes; warnings are dropped."""
    found: list[Diagnostic] = []
    keep = False
    for line in stderr.splitlines():
        match = re.match(r"(\S+?):\d+:\d+: (fatal error|error|warning|note): ", line)
        if match and match[2] != "note":
            keep = match[2] != "warning"
            if keep:
                found.append(Diagnostic(match[1], line))
        elif keep and match:
            found[-1].text += f"\n{line}"
    return found
