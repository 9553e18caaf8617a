"""Who calls whom in a kernel compiled to LLVM text: what the entry reaches, and what comes to nothing.

Clang emits only what the entry uses, so the text shows which instructions a pass really instantiated.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

DEFINITION = re.compile(r"^define .*?@([\w.]+)\(")
USE = re.compile(r"@(_Z\w+|\w+)\b")
GLOBAL = re.compile(r"^_Z(\d+)(\w+)")
API = re.compile(r"^_ZN7AscendC(\d+)(\w+)")


def _counted(pattern: re.Pattern[str], symbol: str) -> str:
    """The name that a mangled symbol spells with its length before it."""
    found = pattern.match(symbol)
    return found[2][: int(found[1])] if found else ""


def instruction(symbol: str) -> str:
    """Name of a function outside all namespaces, as the intrinsics are; empty for others."""
    return _counted(GLOBAL, symbol)


def api(symbol: str) -> str:
    """Name of a free function of namespace AscendC; empty for others, members included."""
    name = _counted(API, symbol)
    rest = symbol[len(f"_ZN7AscendC{len(name)}{name}") :]
    # A template's arguments end with E, the namespace with another; a member has one more name in between.
    return name if name and _after_arguments(rest).startswith("E") else ""


def _after_arguments(rest: str) -> str:
    if not rest.startswith("I"):
        return rest
    depth = at = 0
    while at < len(rest):
        length = re.match(r"\d+", rest[at:])
        if length and rest[at - 1] != "L" and not _in_literal(rest, at):
            at += len(length[0]) + int(length[0])
            continue
        if rest[at] in "INXJL":
            depth += 1
        elif rest[at] == "E":
            depth -= 1
            if depth == 0:
                return rest[at + 1 :]
        at += 1
    return ""


def _in_literal(rest: str, at: int) -> bool:
    """Digits of a value such as Lb1E, as opposed to the length of a name such as 5Block or LN7AscendC5EventE."""
    return re.search(r"L(?:[a-z]|N?(?:\d+\w+?)+E)n?$", rest[:at]) is not None


@dataclass
class CallGraph:
    calls: dict[str, set[str]] = field(default_factory=dict)
    void: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path) -> "CallGraph":
        graph = cls()
        caller = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if found := DEFINITION.match(line):
                caller = found[1]
                graph.calls[caller] = set()
                if re.search(r"\bvoid @", line):
                    graph.void.add(caller)
            elif line == "}":
                caller = ""
            elif caller and " call " in f" {line}":
                graph.calls[caller] |= set(USE.findall(line))
        return graph

    def reached(self, start: str) -> set[str]:
        seen = {start}
        todo = [start]
        while todo:
            for callee in self.calls.get(todo.pop(), ()):
                if callee not in seen:
                    seen.add(callee)
                    todo.append(callee)
        return seen

    def instructions(self, start: str) -> set[str]:
        return {name for symbol in self.reached(start) if (name := instruction(symbol))}
