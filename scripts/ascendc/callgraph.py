"""Who calls whom in a kernel compiled to LLVM text: what the entry reaches, and what comes to nothing.

Clang emits only what the entry uses, so the text shows which instructions a pass really instantiated.
"""

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

DEFINITION = re.compile(r"^define .*?@([\w.]+)\(")
SYMBOL = re.compile(r"@(\w+)")
DEMANGLERS = ("c++filt", "llvm-cxxfilt-19", "llvm-cxxfilt")


def demangle(symbols: Iterable[str]) -> dict[str, str]:
    """Symbols to names without template arguments, parameters and result."""
    tool = next((path for name in DEMANGLERS if (path := shutil.which(name))), None)
    if tool is None:
        raise RuntimeError(f"needs one of {', '.join(DEMANGLERS)}: apt-get install binutils")
    names = list(symbols)
    done = subprocess.run([tool], input="\n".join(names), capture_output=True, text=True, check=True)
    return {name: bare_name(line) for name, line in zip(names, done.stdout.splitlines(), strict=True)}


def bare_name(demangled: str) -> str:
    """`void AscendC::Cast<half, float>(...)` is AscendC::Cast."""
    depth, kept = 0, ""
    for char in demangled:
        depth += char in "<("
        if depth == 0:
            kept += char
        depth -= char in ">)"
    words = [word for word in kept.split() if word != "const"]
    return words[-1] if words else demangled


class CallGraph:
    def __init__(self, path: Path, entry: str) -> None:
        self.calls: dict[str, set[str]] = {}
        self.void: set[str] = set()
        caller = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if found := DEFINITION.match(line):
                caller = found[1]
                self.calls[caller] = set()
                if " void @" in line:
                    self.void.add(caller)
            elif line == "}":
                caller = ""
            elif caller and " call " in line:
                self.calls[caller] |= set(SYMBOL.findall(line))
        self.symbols = self._reached(entry) if entry in self.calls else set()
        self.names = demangle(sorted(self.symbols))

    def _reached(self, start: str) -> set[str]:
        seen = {start}
        todo = [start]
        while todo:
            new = self.calls.get(todo.pop(), set()) - seen
            seen |= new
            todo += new
        return seen

    def instructions(self, start: str | None = None) -> set[str]:
        """Functions outside all namespaces, as the intrinsics are, that a function (else the entry) reaches."""
        symbols = self.symbols if start is None else self._reached(start)
        return {name for s in symbols if s.startswith("_Z") and "::" not in (name := self.names[s])}

    def silent_calls(self) -> list[str]:
        """Calls from the kernel to free functions of the API that return nothing and do nothing."""
        return sorted(
            {
                f"{self.names[callee]}, called by {self.names[caller]}"
                for caller in self.symbols
                if not self.names[caller].startswith(("AscendC::", "ascend_sim::", "std::"))
                for callee in self.calls.get(caller, ())
                if callee in self.void
                and re.fullmatch(r"AscendC::\w+", self.names[callee])
                and not self.instructions(callee)
            }
        )
