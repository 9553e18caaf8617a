"""Just enough of C++'s structure to find mutation sites in kernel sources: comments, function bodies, calls.

It reads the house style (clang-formatted, no macros that open braces), not C++ at large.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|^[ \t]*#[^\n]*", re.DOTALL | re.MULTILINE)
_NAME_BEFORE_PAREN = re.compile(r"(\w+)\s*\(")
_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True)
class Function:
    """A function's name and the positions of its body's braces."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Call:
    """A call `callee<...>(args)`: callee as written (with object or namespace), and the span of each argument."""

    callee: str
    start: int
    end: int
    arguments: tuple[tuple[int, int], ...]


class Source:
    """One file: `text` as it is, `code` of the same length with comments, strings and directives blanked."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.code = _COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
        self.functions = list(self._functions())

    def line(self, position: int) -> int:
        return self.text.count("\n", 0, position) + 1

    def function_at(self, position: int) -> Function | None:
        return next((f for f in self.functions if f.start < position < f.end), None)

    def close(self, position: int) -> int:
        """Position of the bracket that closes the one at `position`."""
        depth = 0
        for i in range(position, len(self.code)):
            depth += (self.code[i] in _OPENING) - (self.code[i] in _CLOSING)
            if depth == 0:
                return i
        raise ValueError(f"{self.file}:{self.line(position)}: bracket is never closed")

    def _functions(self) -> Iterator[Function]:
        position = 0
        while (position := self.code.find("{", position)) >= 0:
            head = re.split(r"[;{}]", self.code[:position])[-1].strip()
            if re.search(r"\)(\s*const)?(\s*noexcept)?$", head) and "=" not in head.split("(")[0]:
                # The name stands before the first parenthesis that is none of a qualifier's, as in __mix__(1, 2).
                names = [m.group(1) for m in _NAME_BEFORE_PAREN.finditer(head) if not m.group(1).startswith("__")]
                if names:
                    end = self.close(position)
                    yield Function(names[0], position, end)
                    position = end
            position += 1

    def calls(self, callee: str) -> Iterator[Call]:
        """Calls inside function bodies whose callee, template arguments left out, matches the pattern as a whole."""
        for match in re.finditer(rf"(?<![\w:.>])({callee})(<[^<>()]*>)?\(", self.code):
            if self.function_at(match.start()) is None:
                continue
            end = self.close(match.end() - 1)
            yield Call(match.group(1), match.start(), end + 1, tuple(self._arguments(match.end(), end)))

    def _arguments(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        depth = 0
        first = start
        for i in range(start, end):
            depth += (self.code[i] in _OPENING) - (self.code[i] in _CLOSING)
            if self.code[i] == "," and depth == 0:
                yield self.trimmed(first, i)
                first = i + 1
        if self.code[first:end].strip():
            yield self.trimmed(first, end)

    def statement_before(self, call: Call) -> tuple[int, int] | None:
        """The span, without its semicolon, of the simple statement before the one that the call makes."""
        end = len(self.code[: call.start].rstrip()) - 1
        if self.code[end] != ";" or self.code[call.end] != ";":
            return None
        return self.trimmed(self._scan(end - 1, -1, ";}") + 1, end)

    def statement_after(self, call: Call) -> tuple[int, int] | None:
        """The span, without its semicolon, of the simple statement after the one that the call makes."""
        before = self.code[: call.start].rstrip()
        if self.code[call.end] != ";" or before[-1] not in ";{}":
            return None
        end = self._scan(call.end + 1, +1, ";}")
        return self.trimmed(call.end + 1, end) if self.code[end] == ";" else None

    def trimmed(self, start: int, end: int) -> tuple[int, int]:
        """The span without white space at its ends."""
        piece = self.code[start:end]
        return start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())

    def conditions(self) -> Iterator[tuple[int, int]]:
        """What stands in the parentheses of `if`, known at run time."""
        for match in re.finditer(r"\bif \(", self.code):
            if self.function_at(match.start()) is not None:
                yield match.end(), self.close(match.end() - 1)

    def ternaries(self) -> Iterator[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
        """Condition and both branches of every conditional expression."""
        for match in re.finditer(r" \? ", self.code):
            if self.function_at(match.start()) is None:
                continue
            colon = self._scan(match.end(), +1, ":", nested="?")
            end = self._scan(colon + 1, +1, ",;")
            start = self._scan(match.start() - 1, -1, ",;=:?", word="return") + 1
            yield self.trimmed(start, match.start()), self.trimmed(match.end(), colon), self.trimmed(colon + 1, end)

    def _scan(self, position: int, step: int, stops: str, nested: str = "", word: str = "") -> int:
        """The next position, outwards from `position`, of a stop character at this bracket depth or of a bracket that
        leaves it."""
        depth = 0
        code = self.code
        while True:
            c = code[position]
            depth += step * ((c in _OPENING) - (c in _CLOSING))
            if depth < 0:
                return position
            if depth == 0 and not self._part_of_operator(position):
                if nested and c in nested:
                    stops_skipped = self._scan(position + 1, step, ":")
                    position = stops_skipped
                elif c in stops:
                    return position
            if word and depth == 0 and code[: position + 1].endswith(f" {word}"):
                return position
            position += step

    def _part_of_operator(self, position: int) -> bool:
        """Whether the character belongs to ::, ==, <=, >= or !=."""
        code = self.code
        return (code[position] == ":" and ":" in (code[position - 1], code[position + 1])) or (
            code[position] == "=" and (code[position - 1] in "=<>!" or code[position + 1] == "=")
        )

    def piece(self, start: int, end: int) -> str:
        """The span on one line, without comments."""
        return " ".join(self.code[start:end].split())


def read_sources(root: Path) -> list[Source]:
    files = sorted(path for path in root.rglob("*") if path.suffix in (".h", ".cpp"))
    return [Source(path.relative_to(root).as_posix(), path.read_text()) for path in files]
