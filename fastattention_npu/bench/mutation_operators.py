"""Mutation operators: what one mutant changes. All of them work on the text of any kernel; none knows attention.

Synchronisation (family "sync"): leave out one flag, barrier or counter operation, name the wrong one, or let a ring
reuse a slot too early. Guards (family "guard"): drop a rounding, a minimum, a branch or a fill that tails and masks
rest on, or move its boundary by one. Changes that only serialise (a shallower ring, less run-ahead) are no faults and
are not made. docs/mutation.md lists them.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from .mutation_text import Function, Source

PRIMITIVES = "(?:AscendC::)?(?:SetFlag|WaitFlag|PipeBarrier|CrossCoreSetFlag|CrossCoreWaitFlag|SyncAll)"
FILLS = r"(?:AscendC::)?(?:Fill\w*|Duplicate|Select\w*|ResetMask|SetVectorMask|SetMask\w*)"
CHAIN = r"(?:\w+(?:->|\.))*"  # of objects and members before a name
RING = rf"{CHAIN}\w*[rR]ing\w*(?:\(\))?(?:->|\.){CHAIN}"  # a method of a ring, or of one of several rings
BOUNDARIES = {" < ": " <= ", " <= ": " < ", " > ": " >= ", " >= ": " > "}


@dataclass(frozen=True)
class Mutant:
    """Replaces text[start:end] of a file by `instead`; `scope` means: run it with every primitive inside left out.

    moved: the statement before (or after) which the operation takes place instead.
    """

    operator: str
    file: str
    line: int
    function: str
    start: int
    end: int
    original: str
    instead: str
    scope: bool = False
    moved: tuple[int, int] | None = None

    @property
    def family(self) -> str:
        return self.operator.split(":")[0]

    @property
    def change(self) -> str:
        """What takes the place of the original, in words where nothing does."""
        if self.moved:
            return "one statement " + ("earlier" if self.moved[0] < self.start else "later")
        return self.instead or "left out"

    def __str__(self) -> str:
        change = "without its synchronisation" if self.scope and not self.moved else f"-> {self.change}"
        return f"{self.file}:{self.line} {self.function}: {self.original} {change} [{self.operator}]"


Operator = Callable[[Source, list[Source]], Iterator[Mutant]]
OPERATORS: list[Operator] = []


def operator(function: Operator) -> Operator:
    OPERATORS.append(function)
    return function


def _mutant(name: str, source: Source, span: tuple[int, int], instead: str, scope: bool = False) -> Mutant:
    start, end = span
    function = source.function_at(start)
    where = function.name if function else ""
    return Mutant(name, source.file, source.line(start), where, start, end, source.piece(start, end), instead, scope)


def sync_helpers(sources: Iterable[Source]) -> dict[str, str]:
    """Functions of the common layer that synchronise and do nothing else, such as the methods of a ring: 'set' or
    'wait' for those that do this to one flag and return nothing."""
    names = {}
    for source in sources:
        if not source.file.startswith("common/"):
            continue
        for function in source.functions:
            body = source.code[function.start : function.end]
            called = re.findall(r"AscendC::(\w+)[<(]", body)
            if called and all(re.fullmatch(PRIMITIVES, name) for name in called):
                simple = len(called) == 1 and not re.search(r"\b(for|return)\b", body)
                names[function.name] = re.sub(".*(Set|Wait)Flag", r"\1", called[0]).lower() if simple else ""
    # ... or call nothing but such a function, as a ring's Init does.
    for source in sources:
        for function in source.functions if source.file.startswith("common/") else ():
            called = re.findall(r"\b(\w+)\(", source.code[function.start : function.end])
            if called and set(called) <= names.keys():
                names.setdefault(function.name, "")
    return names


@operator
def leave_out(source: Source, sources: list[Source]) -> Iterator[Mutant]:
    """A primitive is left out; a helper is called without the primitives inside."""
    for call in source.calls(PRIMITIVES):
        yield _mutant("sync:leave out", source, (call.start, call.end), "")
    helpers = "|".join(sorted(sync_helpers(sources)))
    # A method counts only on a ring: stages have an Init and a Drain as well.
    for call in source.calls(rf"(?:{RING})?(?:{helpers})") if helpers else ():
        yield _mutant("sync:leave out", source, (call.start, call.end), "", scope=True)


@operator
def misplaced(source: Source, sources: list[Source]) -> Iterator[Mutant]:
    """A set comes one statement too early, a wait one too late; the statement is a call that does not synchronise."""
    helpers = sync_helpers(sources)
    silent = rf"(?!(?:{RING})?(?:{'|'.join(sorted(helpers)) or '-'})\()(?!{PRIMITIVES}\b)"
    sets = "|".join(["SetFlag", "CrossCoreSetFlag", *(name for name, kind in helpers.items() if kind == "set")])
    waits = "|".join(["WaitFlag", "CrossCoreWaitFlag", *(name for name, kind in helpers.items() if kind == "wait")])
    for names, neighbour in ((sets, source.statement_before), (waits, source.statement_after)):
        for call in source.calls(rf"(?:AscendC::|{RING})(?:{names})"):
            where = neighbour(call)
            if where and re.match(silent + r"[\w:.>-]+(?:<[^()]*>)?\(", source.code[slice(*where)]):
                place = _mutant("sync:misplaced", source, (call.start, call.end), "")
                yield replace(place, scope=not call.callee.startswith("AscendC::"), moved=where)


@operator
def wrong_id(source: Source, sources: list[Source]) -> Iterator[Mutant]:
    """A flag or counter operation names the next id."""
    for call in source.calls(r"(?:AscendC::)?(?:SetFlag|WaitFlag|CrossCoreSetFlag|CrossCoreWaitFlag)"):
        for argument in call.arguments[:1]:
            yield _mutant("sync:wrong id", source, argument, f"{source.piece(*argument)} + 1")


@operator
def wrong_pipe(source: Source, sources: list[Source]) -> Iterator[Mutant]:
    """A cross-core set is queued on a pipe that did not produce the data."""
    other = {"PIPE_FIX": "PIPE_MTE2", "PIPE_MTE3": "PIPE_V", "PIPE_V": "PIPE_MTE2", "PIPE_MTE2": "PIPE_MTE1"}
    for call in source.calls(r"(?:AscendC::)?CrossCoreSetFlag"):
        text = source.piece(call.start, call.end)
        pipe = re.search(r"PIPE_\w+", text)
        if pipe and pipe.group() in other:
            instead = text.replace(pipe.group(), other[pipe.group()])
            yield _mutant("sync:wrong pipe", source, (call.start, call.end), instead)


@operator
def early_reuse(source: Source, sources: list[Source]) -> Iterator[Mutant]:
    """Rings by one slot too deep for their memory or, where a slot is an index modulo the depth, one too short; one
    block more of run-ahead."""
    for call in source.calls(r"(?:ring|turn)\w*\.Init"):
        depth = call.arguments[-1]
        yield _mutant("sync:ring depth", source, depth, f"{source.piece(*depth)} + 1")
    for match in re.finditer(r" % ((?:\w+(?:->|\.))*\w*ring\w*)", source.code):
        for sign in "+-":
            yield _mutant("sync:ring depth", source, match.span(1), f"({match.group(1)} {sign} 1)")
    for match in re.finditer(rf"{CHAIN[:-1]}+preload\b", source.code):
        yield _mutant("sync:preload", source, match.span(), f"({match.group()} + 1)")


@operator
def unit_flags(source: Source, sources: list[Source]) -> Iterator[Mutant]:
    """A Mmad or Fixpipe that does not wait for unit flags, turns them too early or not at all."""
    names = ("UNIT_OFF", "UNIT_HOLD", "UNIT_TURN")
    for match in re.finditer(r"\b(UNIT_HOLD|UNIT_TURN)\b(?! =)", source.code):
        for instead in names:
            if instead != match.group():
                yield _mutant("sync:unit flag", source, match.span(), instead)


@operator
def no_rounding(source: Source, sources: list[Source]) -> Iterator[Mutant]:
    """Rounding up becomes none, or rounding down."""
    for call in source.calls("RoundUp"):
        yield _mutant("guard:rounding", source, (call.start, call.end), f"({source.piece(*call.arguments[0])})")
    for call in source.calls("CeilDiv"):
        x, y = (source.piece(*argument) for argument in call.arguments)
        yield _mutant("guard:rounding", source, (call.start, call.end), f"(({x}) / ({y}))")
    for helper, unit in _rounding_helpers(sources):
        for call in source.calls(helper):
            x = source.piece(*call.arguments[0])
            yield _mutant("guard:rounding", source, (call.start, call.end), f"(({x}) / {unit})")


def _rounding_helpers(sources: list[Source]) -> Iterator[tuple[str, str]]:
    """Functions of one argument that divide and round up, with the unit they divide by."""
    for source in sources:
        for function in source.functions:
            body = source.piece(function.start, function.end + 1)
            match = re.fullmatch(r"\{ return \(\w+ \+ ([A-Z]\w+) - 1\) / \1; \}", body)
            if match:
                yield function.name, match.group(1)


@operator
def one_side(source: Source, sources: list[Source]) -> Iterator[Mutant]:
    """A minimum, maximum or conditional expression always takes the same side."""
    for call in source.calls("Least|MaxOf|Min|Max|std::min|std::max"):
        for argument in call.arguments if len(call.arguments) == 2 else ():
            yield _mutant("guard:one side", source, (call.start, call.end), f"({source.piece(*argument)})")
    for condition, left, right in source.ternaries():
        for branch in (left, right):
            yield _mutant("guard:one side", source, (condition[0], right[1]), f"({source.piece(*branch)})")


@operator
def forced_condition(source: Source, sources: list[Source]) -> Iterator[Mutant]:
    """A condition is always or never met."""
    for span in _conditions(source):
        for value in ("true", "false"):
            if source.piece(*span) != value:
                yield _mutant("guard:forced", source, span, value)


def _conditions(source: Source) -> Iterator[tuple[int, int]]:
    """Run-time conditions of if, and comparisons whose outcome is stored or passed on."""
    yield from source.conditions()
    for match in re.finditer(r"(?:(?<=[(,])|(?<= =))\s*([^(),;={}?<>&|]+ [=!]= [^(),;={}?&|]+)(?=[,;)])", source.code):
        before = source.code[: match.start(1)].rstrip()
        if source.function_at(match.start(1)) is not None and not re.search(r"\b(if|while|constexpr) \($", before):
            yield match.span(1)


@operator
def moved_boundary(source: Source, sources: list[Source]) -> Iterator[Mutant]:
    """A comparison includes its boundary, or no longer does; not in a minimum, whose sides are equal there."""
    spans = list(source.conditions())
    for condition, left, right in source.ternaries():
        compared = re.split(r" (?:<|>|<=|>=) ", source.piece(*condition))
        if {source.piece(*left), source.piece(*right)} != set(compared):
            spans.append(condition)
    for start, end in spans:
        for match in re.finditer(r" (?:<|>|<=|>=) ", source.code[start:end]):
            x, y = source.piece(start, start + match.start()), source.piece(start + match.end(), end)
            yield _mutant("guard:boundary", source, (start, end), x + BOUNDARIES[match.group()] + y)


@operator
def off_by_one(source: Source, sources: list[Source]) -> Iterator[Mutant]:
    """The 1 that is taken off a size is not."""
    for match in re.finditer(r" - (1)\b(?!\.)", source.code):
        if source.function_at(match.start()) is not None:
            yield _mutant("guard:off by one", source, match.span(1), "0")


@operator
def no_tail(source: Source, sources: list[Source]) -> Iterator[Mutant]:
    """The remainder that makes a tail is taken as none; the mask of a tail's lanes is that of all lanes."""
    for pattern, instead in ((r"[\w.>-]*\w % [A-Z][A-Z0-9_]+\b", "0"), (r"~uint64_t\{0\} << \w+", "~uint64_t{0}")):
        for match in re.finditer(pattern, source.code):
            if source.function_at(match.start()) is not None:
                yield _mutant("guard:no tail", source, match.span(), instead)


@operator
def neutral_constant(source: Source, sources: list[Source]) -> Iterator[Mutant]:
    """A named fp32 constant (the start of a maximum, a guard against 0 / 0, a masked score) is 0."""
    names = {n for s in sources for n in re.findall(r"^constexpr float ([A-Z]\w+) =", s.code, re.MULTILINE)}
    for name in sorted(names):
        for match in re.finditer(rf"\b{name}\b", source.code):
            if source.function_at(match.start()) is not None:
                yield _mutant("guard:constant", source, match.span(), "0.0F")


@operator
def wrong_kind(source: Source, sources: list[Source]) -> Iterator[Mutant]:
    """An enumerator of a ...Kind is each of the others."""
    for enum in sources:
        for match in re.finditer(r"enum class (\w*Kind)[^{]*\{([^}]*)\}", enum.code):
            kinds = re.findall(r"\b[A-Z][A-Z0-9_]*\b", match.group(2))
            for use in re.finditer(rf"{match.group(1)}::(\w+)", source.code):
                if source.function_at(use.start()) is None:
                    continue
                for kind in kinds:
                    if kind != use.group(1):
                        yield _mutant("guard:kind", source, use.span(), f"{match.group(1)}::{kind}")


@operator
def no_fill(source: Source, sources: list[Source]) -> Iterator[Mutant]:
    """A fill, a selection by mask or a mask reset is left out."""
    for call in source.calls(FILLS):
        if source.code[call.end] == ";":
            yield _mutant("guard:no fill", source, (call.start, call.end), "")


def find_mutants(sources: list[Source]) -> list[Mutant]:
    """Every mutant of every kernel, in the order of the text; functions that no kernel calls are left out, and the
    bookkeeping of rings, whose depth other mutants change."""
    helpers = sync_helpers(sources)
    unused = {f.name for source in sources for f in source.functions if _unused(f, sources)}
    found = {
        (m.file, m.start, m.end, m.instead, m.scope, m.moved): m
        for source in sources
        for make in OPERATORS
        for m in make(source, sources)
        if m.function not in unused
        and not (m.family == "guard" and source.file.startswith("common/") and m.function in helpers)
    }
    return sorted(found.values(), key=lambda m: (m.file, m.start, -m.end, m.instead))


def _unused(function: Function, sources: list[Source]) -> bool:
    """Whether no kernel refers to the function: op_host shares some headers."""
    uses = sum(len(re.findall(rf"\b{function.name}\b", source.code)) for source in sources)
    entry = any(re.search(rf"__global__[^;{{]*\b{function.name}\(", source.code) for source in sources)
    return uses <= 1 and not entry
