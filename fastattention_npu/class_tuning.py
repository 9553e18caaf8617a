"""The search for the tilings that ship: one for each class of shapes, judged on several shapes of the class.

The first shape of a class, and the second if it is cheap, are searched as `tuning.tune` does; what is best there,
op_host's choice for each shape, and the tilings that ship already, are then simulated on all of them. A class's
tiling comes with a bound on its modelled cost over that of op_host's own choice, below which it is used
(default_tilings.py): no shape below it may be slower than op_host's choice. The pair with the largest gain ships, if
that is at least GAIN and comes from LEAST_USED shapes; otherwise the class has a file without fields, and op_host keeps
choosing. Costs are modelled and simulated cycles; nothing here was measured on a card.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import geometric_mean
from typing import Any

from .default_tilings import shape_class
from .tuning import CLASS_FIELDS, MODELLED_BEST, ROUNDS, Candidate, Fields, Follow, Search

GAIN = 1.01  # less than the model's own resolution is not worth a file
LEAST_USED = 2  # shapes: one alone says nothing about its class
SEARCHED = 2  # shapes of a class at most
SEARCHED_PAIRS = 70e6  # of query and key: a second shape with more is not searched
FINALISTS = 8  # of each searched shape that are simulated on the others
DIMS = (128, 64)
MASKS = (False, True)  # causal
# Keys, heads and key heads of the shapes of a class; the first are searched, so they are cheap ones.
SHAPES: Mapping[str, Sequence[tuple[int, int, int]]] = {
    "1k_few": ((1024, 8, 8), (1024, 1, 1), (512, 32, 32), (1024, 16, 4), (1024, 4, 4), (384, 16, 16), (768, 8, 8)),
    "1k_many": ((1024, 32, 32), (512, 64, 64), (1024, 32, 8), (1024, 24, 6), (768, 40, 40)),
    "2k_few": ((2048, 8, 8), (2048, 1, 1), (1536, 4, 4), (2048, 4, 1)),
    "2k_many": ((2048, 24, 24), (2048, 32, 8), (1536, 32, 32)),
    "4k_few": ((4096, 1, 1), (4096, 4, 1), (3072, 2, 2)),
    "4k_many": ((4096, 8, 8), (4096, 24, 24), (3072, 16, 16)),
    "8k_few": ((8192, 1, 1), (6000, 2, 2), (6144, 1, 1)),
    "8k_many": ((8192, 3, 3), (8192, 4, 1), (6000, 6, 6)),
    "16k_few": ((12288, 1, 1), (16384, 1, 1), (10240, 2, 2)),
    "16k_many": ((12288, 2, 2), (16384, 2, 2), (10240, 4, 1)),
}


@dataclass(frozen=True)
class ClassShape:
    """One shape with the costs of op_host's own choice and of the class's tiling; None if that does not fit it."""

    problem: Mapping[str, Any]
    own: Candidate
    tried: Candidate | None

    @property
    def modelled_over_own(self) -> float:
        return self.tried.modelled / self.own.modelled if self.tried else math.inf

    def used(self, bound: float) -> Candidate:
        """What a plan starts from under a bound of modelled_over_own."""
        return self.tried if self.tried and self.modelled_over_own <= bound else self.own

    def gain(self, bound: float) -> float:
        return self.own.simulated / self.used(bound).simulated


@dataclass(frozen=True)
class ClassTuned:
    """The tiling of a class (no fields: op_host's own choice stays), the bound of its modelled cost over op_host's own
    below which it is used, its shapes, and how many costs were simulated."""

    fields: Fields
    bound: float
    shapes: tuple[ClassShape, ...]
    simulated: int

    @property
    def gain(self) -> float:
        return _gain(self.shapes, self.bound)


def _gain(shapes: Iterable[ClassShape], bound: float) -> float:
    return geometric_mean(shape.gain(bound) for shape in shapes)


def classes() -> dict[str, list[dict[str, Any]]]:
    """The problems (op_host's words) of every class that ships, by its name, the most used first."""
    found = {}
    for d, (name, shapes), causal in product(DIMS, SHAPES.items(), MASKS):
        problems = [problem_of(*sizes, d, causal) for sizes in shapes]
        (found_name,) = {shape_class(problem) for problem in problems}
        assert found_name.endswith(name), f"{found_name} is not {name}"
        found[found_name] = problems
    return found


def problem_of(s: int, heads: int, key_heads: int, d: int, causal: bool) -> dict[str, Any]:
    sizes = {"b": 1, "s_q": s, "s_kv": s, "h_q": heads, "h_kv": key_heads, "d": d}
    return sizes | {"dtype": "fp16", "layout": "bshd", "causal": causal}


def pairs_of(problem: Mapping[str, Any]) -> int:
    """Pairs of query and key of all heads: what a simulation's time grows with."""
    return problem["b"] * problem["h_q"] * problem["s_q"] * problem["s_kv"]


def tune_class(
    problems: Sequence[Mapping[str, Any]],
    soc: Mapping[str, Any],
    workers: int = 1,
    follow: Follow = lambda items, _: items,
    best: int = MODELLED_BEST,
    rounds: int = ROUNDS,
    known: Sequence[Fields] | None = None,
    also: Sequence[Fields] = (),
) -> ClassTuned:
    """The tiling that is best for the problems of a class on a SoC (flat values); see the top of this file.

    known: tilings to judge instead of searching. also: tilings to judge beside those that the search finds.
    """
    searches = [Search(problem, soc, workers, CLASS_FIELDS) for problem in problems]
    finalists = [dict(one) for one in known or ()]
    for i, search in enumerate(searches[:SEARCHED] if known is None else ()):
        if i > 0 and pairs_of(problems[i]) > SEARCHED_PAIRS:
            continue
        search.climb(follow, best, rounds)
        finalists += [dict(one.fields) for one in search.ranked()[:FINALISTS]]
    finalists += [search.own_fields() for search in searches] + [dict(one) for one in also]
    finalists = [one for i, one in enumerate(finalists) if one not in finalists[:i]]
    rows = []  # one a problem, a shape for each finalist
    for problem, search in zip(problems, searches, strict=True):
        own, *tried = search.simulate([{}, *finalists], follow)
        assert own is not None, "op_host's choice fits"
        rows.append([ClassShape(problem, own, one) for one in tried])
    simulated = sum(len(search.known) for search in searches)
    tuned = ClassTuned({}, 0.0, tuple(row[0] for row in rows), simulated)
    for fields, shapes in zip(finalists, zip(*rows, strict=True), strict=True):
        for bound in sorted(shape.modelled_over_own for shape in shapes if shape.tried):
            if any(shape.gain(bound) < 1 for shape in shapes):
                break
            used = sum(shape.used(bound) is not shape.own for shape in shapes)
            if used >= LEAST_USED and _gain(shapes, bound) > max(tuned.gain, GAIN):
                tuned = ClassTuned(fields, bound, shapes, simulated)
    return tuned
