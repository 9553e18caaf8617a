"""Makes a failing case smaller while it fails in the same way: fewer keys in its shape and tiling, smaller numbers."""

from collections.abc import Callable, Iterator
from typing import Any

from ..dispatch import DEFAULT_SOC
from ..errors import ConfigError
from ..shape_config import REQUIRED, shape_from_dict
from .judge import Verdict
from .problems import Case

LISTS = {"seqused_k": "s_kv", "seqlens_q": "s_q", "seqlens_k": "s_kv"}
MAX_TRIALS = 300


def shrink(case: Case, verdict: Verdict, judge: Callable[[Case], Verdict]) -> Case:
    """The smallest case found that ends as `verdict` did."""
    trials = MAX_TRIALS
    better = True
    while better and trials > 0:
        better = False
        for step in STEPS:
            smaller: Case | None = case
            while smaller is not None and trials > 0:
                smaller = None
                for candidate in _legal(case, step):
                    trials -= 1
                    if judge(candidate)["how"] == verdict["how"]:
                        case = smaller = candidate
                        better = True
                        break
    return case


def _legal(case: Case, step: Callable[[Case], Iterator[Case]]) -> Iterator[Case]:
    for candidate in step(case):
        try:
            shape_from_dict(candidate["shape"], "shrunk")
        except ConfigError:
            continue
        yield candidate


def _usual_soc(case: Case) -> Iterator[Case]:
    if case.get("soc", DEFAULT_SOC) != DEFAULT_SOC:
        yield case | {"soc": DEFAULT_SOC}


def _drop_tiling(case: Case) -> Iterator[Case]:
    if case.get("tiling"):
        yield case | {"tiling": {}}
    for key in case.get("tiling", {}):
        yield case | {"tiling": {name: x for name, x in case["tiling"].items() if name != key}}


def _fewer_ranks(case: Case) -> Iterator[Case]:
    layer = case["shape"].get("allreduce")
    for key, size in (("ranks", 1), ("hidden", 1)):
        for smaller in dict.fromkeys((1, layer[key] // 2, layer[key] - 1)) if layer else ():
            if size <= smaller < layer[key]:
                yield case | {"shape": case["shape"] | {"allreduce": layer | {key: smaller}}}
    if layer and layer.get("bias"):
        yield case | {"shape": case["shape"] | {"allreduce": layer | {"bias": False}}}


def _fewer_blocks(case: Case) -> Iterator[Case]:
    """Neighbouring token blocks joined; then a block, and with it tokens of the only sequence, fewer."""
    blocks = case.get("tiling", {}).get("token_blocks", [])
    for i in range(len(blocks) - 1):
        joined = [*blocks[:i], blocks[i] + blocks[i + 1], *blocks[i + 2 :]]
        yield case | {"tiling": case["tiling"] | {"token_blocks": joined}}
    shape = case["shape"]
    for i, tokens in enumerate(blocks if shape["b"] == 1 and "seqlens_q" not in shape else ()):
        for fewer in dict.fromkeys((0, tokens // 2, tokens - 1)):
            left = [x for x in (*blocks[:i], fewer, *blocks[i + 1 :]) if x]
            if fewer < tokens and left:
                smaller = case["tiling"] | {"token_blocks": left}
                yield case | {"tiling": smaller, "shape": shape | {"s_q": sum(left)}}


def _drop_keys(case: Case) -> Iterator[Case]:
    shape = case["shape"]
    groups = [{key} for key in shape if key not in REQUIRED]
    groups += [{"layout", "seqlens_q", "seqlens_k"}, {"mask", "mask_dims"}]
    for group in groups:
        if group & set(shape) and "allreduce" not in group:
            yield case | {"shape": {name: x for name, x in shape.items() if name not in group}}


def _fewer_heads(case: Case) -> Iterator[Case]:
    shape = case["shape"]
    if shape["b"] > 1:
        yield case | {"shape": _first_entry(shape)}
    if shape["h_q"] > 1:
        yield case | {"shape": shape | {"h_q": 1, "h_kv": 1}}
    if shape["h_q"] > shape["h_kv"]:
        yield case | {"shape": shape | {"h_q": shape["h_kv"]}}


def _smaller_sizes(case: Case) -> Iterator[Case]:
    shape = case["shape"]
    for key in ("s_q", "s_kv", "d", "d_v"):
        size = shape.get(key, 1)
        for smaller in dict.fromkeys((1, size // 2, size - 1)):
            if 1 <= smaller < size:
                yield case | {"shape": _resized(shape, key, smaller)}


def _smaller_lengths(case: Case) -> Iterator[Case]:
    shape = case["shape"]
    for key in LISTS:
        for i, n in enumerate(shape.get(key, [])):
            for smaller in dict.fromkeys((0, n // 2, n - 1)):
                if 0 <= smaller < n:
                    lengths = [smaller if j == i else x for j, x in enumerate(shape[key])]
                    yield case | {"shape": shape | {key: lengths}}


STEPS = (
    _usual_soc,
    _drop_tiling,
    _fewer_ranks,
    _fewer_blocks,
    _drop_keys,
    _fewer_heads,
    _smaller_sizes,
    _smaller_lengths,
)


def _first_entry(shape: dict[str, Any]) -> dict[str, Any]:
    return shape | {"b": 1} | {key: shape[key][:1] for key in LISTS if key in shape}


def _resized(shape: dict[str, Any], key: str, size: int) -> dict[str, Any]:
    lists = {name: [min(n, size) for n in shape[name]] for name, of in LISTS.items() if of == key and name in shape}
    return shape | {key: size} | lists
