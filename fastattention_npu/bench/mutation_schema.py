"""One build that holds every mutant: each site of a scratch copy asks at run time whether it is the one that is wrong.

Mutant schemata (Untch, Offutt, Harrold 1993). The copy keeps its line numbers, so that reports name the real lines.
"""

import ctypes
from dataclasses import dataclass
from pathlib import Path

from .._native import core
from .kernel_build import compile_kernels, copy_kernels
from .mutation_operators import Mutant, find_mutants
from .mutation_text import Source, read_sources

NO_MUTANT = -1
EXCLUDED = ("microbench/",)  # they time the machine and compute nothing that could be wrong
SWITCH_HEADER = "mutation_switch.h"
# Included before everything else. is_constant_evaluated: shared headers use their functions in constant expressions.
SWITCH = """#pragma once
extern "C" {{
inline int fastattnMutant = -1;
inline unsigned char fastattnReached[{count}] = {{}};
}}
namespace fastattn_mutation {{
inline thread_local bool silenced = false;
inline bool Chosen(int mutant)
{{
    fastattnReached[mutant] = 1;
    return fastattnMutant == mutant;
}}
constexpr bool Is(int mutant) {{ return __builtin_is_constant_evaluated() ? false : Chosen(mutant); }}
inline bool Off(int mutant) {{ return Chosen(mutant) || silenced; }}
// Leaves out the primitives until the end of the full expression.
struct Silence {{
    explicit Silence(int mutant) : mine(Chosen(mutant)) {{ silenced = silenced || mine; }}
    ~Silence() {{ silenced = silenced && !mine; }}
    bool mine;
}};
}}
"""


@dataclass
class Node:
    """A span of the text with its mutants and the spans inside it."""

    start: int
    end: int
    mutants: list[tuple[int, Mutant]]
    children: list["Node"]


@dataclass(frozen=True)
class Schema:
    """The build and its mutants, by number."""

    library: Path
    mutants: tuple[Mutant, ...]


def _nest(mutants: list[tuple[int, Mutant]]) -> list[Node]:
    """The spans as a forest, outer before inner; a moved operation has one where it stands and one where it goes."""
    roots: list[Node] = []
    open_nodes: list[Node] = []
    places = [((m.start, m.end), (number, m)) for number, m in mutants]
    places += [(m.moved, (number, m)) for number, m in mutants if m.moved]
    for (start, end), item in sorted(places, key=lambda place: (place[0][0], -place[0][1])):
        while open_nodes and open_nodes[-1].end <= start:
            open_nodes.pop()
        if open_nodes and end > open_nodes[-1].end:
            raise ValueError(f"overlaps another mutant without being inside it: {item[1]}")
        if open_nodes and (open_nodes[-1].start, open_nodes[-1].end) == (start, end):
            open_nodes[-1].mutants.append(item)
            continue
        node = Node(start, end, [item], [])
        (open_nodes[-1].children if open_nodes else roots).append(node)
        open_nodes.append(node)
    return roots


def _rewrite(text: str, start: int, end: int, nodes: list[Node]) -> str:
    """text[start:end] with every node's choices written in."""
    pieces = []
    for node in nodes:
        pieces += [text[start : node.start], _choices(node, _rewrite(text, node.start, node.end, node.children))]
        start = node.end
    return "".join([*pieces, text[start:end]])


def _choices(node: Node, original: str) -> str:
    before, choice, after = "", "", ""
    for number, mutant in node.mutants:
        if mutant.moved == (node.start, node.end):
            operation = f"fastattn_mutation::Is({number}) ? {mutant.original} : void()"
            before += f"({operation}), " if mutant.start > node.start else ""
            after += f", ({operation})" if mutant.start < node.start else ""
        elif mutant.scope:
            before += f"fastattn_mutation::Silence({number}), "
        elif mutant.instead:
            choice += f"fastattn_mutation::Is({number}) ? {mutant.instead} : "
        else:
            test = "Off" if mutant.operator.startswith("sync:") else "Is"
            choice += f"fastattn_mutation::{test}({number}) ? void() : "
    # A branch of its own, so that a condition or a conditional expression keeps its meaning.
    return f"({before}{choice}({original}){after})" if choice else f"({before}{original}{after})"


def rewritten(source: Source, numbered: list[tuple[int, Mutant]]) -> str:
    return _rewrite(source.text, 0, len(source.text), _nest([m for m in numbered if m[1].file == source.file]))


def build_schema(folder: Path) -> Schema:
    """Copies the kernels to `folder`, writes every mutant in and compiles once."""
    copy = copy_kernels(folder)
    sources = read_sources(copy)
    mutants = find_mutants([source for source in sources if not source.file.startswith(EXCLUDED)])
    numbered = list(enumerate(mutants))
    for source in sources:
        (copy / source.file).write_text(rewritten(source, numbered))
    header = folder / SWITCH_HEADER
    header.write_text(SWITCH.format(count=max(1, len(mutants))))
    library = compile_kernels(folder, "-O1", "-Wno-narrowing", "-fno-gnu-unique", "-include", str(header))
    return Schema(library, tuple(mutants))


class Switch:
    """Chooses the mutant of a loaded schema; the library stays mapped, so the choice holds for later runs."""

    def __init__(self, library: Path, count: int) -> None:
        core()  # brings the simulator's library, which this one needs
        self._library = ctypes.CDLL(str(library))
        self._mutant = ctypes.c_int.in_dll(self._library, "fastattnMutant")
        self._reached = (ctypes.c_ubyte * max(1, count)).in_dll(self._library, "fastattnReached")

    def choose(self, mutant: int) -> None:
        self._mutant.value = mutant
        ctypes.memset(self._reached, 0, len(self._reached))

    def reached(self) -> list[int]:
        """The mutants whose sites have run since the last choice."""
        return [number for number, value in enumerate(self._reached) if value]
