"""Random legal problems over every feature: the content of a shape file, tiling fields, a backend and a seed.

Sizes are small, so that a case takes a fraction of a second, and lie often at and around the borders of tiles. Half of
the problems have a tiling of their own (tilings.py): op_host would choose most tilings for large problems only.
"""

import random
from itertools import pairwise
from typing import Any

from .tilings import drawn_tiling

BORDERS = (1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129)
LONG_BORDERS = (255, 256, 257, 300, 511, 513)
MANY_BLOCKS = (600, 769, 1025, 1300)  # keys of so many small blocks that every ring turns over
HEAD_DIMS = (1, 7, 8, 16, 24, 32, 40, 64, 72, 80, 128, 192, 256)
SMALL = {"block_q": 32, "block_kv": 256, "ring": 3, "preload": 2, "l1_tile_kv": 128, "l0_tile_kv": 64, "strip_rows": 8}
TILINGS: tuple[dict[str, Any], ...] = (
    {},
    {},
    SMALL | {"mask_block": 256, "block_dim": 1},
    SMALL | {"block_q": 16, "ring": 2, "preload": 1, "block_dim": 2},
    SMALL | {"block_q": 64, "strip_rows": 16, "p_slots": 1, "block_dim": 2},
    *(SMALL | {"block_dim": 3, "schedule": schedule} for schedule in (0, 1, 2)),
    SMALL | {"mask": "tiling", "block_dim": 2},
    SMALL | {"pack_gqa": 0, "block_dim": 2},
    SMALL | {"pack_gqa": 1, "block_dim": 2},
    SMALL | {"s_exchange": "fp16", "block_dim": 2},
    {"s_exchange": "fp16"},
    SMALL | {"s_exchange": "bf16", "strip_rows": 16, "block_dim": 3},  # for bf16 only
)
SOCS = ("ascend910b2",) * 6 + ("ascend910b1", "ascend910b3", "ascend910b4")
Case = dict[str, Any]


FUSED_SHARE = 12  # one problem in so many is of several ranks with projection and AllReduce
TALL = (100, 600)  # queries and keys of most problems with a tiling of their own
TALL_SHARE = 0.8
DRAWN_SHARE = 0.5  # of the problems on the simulator: with drawn tiling fields


def legal_case(seed: int, index: int) -> Case:
    """Case number `index` of a seed; the same for the same numbers."""
    fused = index % FUSED_SHARE == FUSED_SHARE - 1
    case = fused_case(seed, index) if fused else attention_case(seed, index)
    rng = random.Random(f"tiling {seed} {index}")
    if case["backend"] == "sim" and rng.random() < DRAWN_SHARE:
        if not fused and rng.random() < TALL_SHARE:
            _stretch(rng, case["shape"])
        case["tiling"] = drawn_tiling(rng, case["shape"], case["soc"], case["tiling"])
    return case


def _stretch(rng: random.Random, shape: dict[str, Any]) -> None:
    """Several query tiles a block, most of which the diagonal or a window cuts."""
    for name in ("seqlens_q", "seqlens_k", "seqused_k"):
        shape.pop(name, None)
    shape["layout"] = "bshd" if shape["layout"] == "tnd" else shape["layout"]
    shape |= {"b": 1, "s_q": rng.randint(*TALL), "s_kv": rng.randint(*TALL)}
    if rng.random() < 0.8:
        shape["causal"] = True
    if rng.random() < 0.5:
        shape["h_q"] = shape["h_kv"] = 1


def fused_case(seed: int, index: int) -> Case:
    """Attention, projection and AllReduce of 1 to 8 ranks; sizes shrink with the ranks, all of which are simulated."""
    rng = random.Random(f"fused {seed} {index}")
    ranks = rng.choice((1, 2, 2, 3, 4, 8))
    h_kv = rng.choice((1, 1, 2))
    sizes = (1, 2, 15, 16, 17, 31, 33, 65, 100, 130, 200)
    s_q = min(rng.choice(sizes), 400 // ranks)
    shape: dict[str, Any] = {"b": rng.choice((1, 1, 2)), "s_q": s_q, "s_kv": s_q}
    if rng.random() < 0.3:
        shape["s_kv"] = rng.choice((1, 17, 64, 300))
    shape |= {"h_q": h_kv * rng.choice((1, 2, 4)), "h_kv": h_kv, "d": rng.choice((1, 8, 16, 40, 64))}
    if rng.random() < 0.2:
        shape["d_v"] = rng.choice((8, 24, 32))
    shape["dtype"] = rng.choice(("fp16", "bf16"))
    shape["layout"] = "bshd"
    tokens = shape["b"] * s_q
    if rng.random() < 0.3:
        shape["layout"] = "tnd"
        shape["seqlens_q"] = [rng.choice((0, 1, rng.randint(0, s_q), s_q)) for _ in range(shape["b"])]
        shape["seqlens_q"][-1] = max(1, shape["seqlens_q"][-1])
        shape["seqlens_k"] = [rng.choice((0, 1, shape["s_kv"])) for _ in range(shape["b"])]
        tokens = sum(shape["seqlens_q"])
    if rng.random() < 0.6:
        shape["causal"] = True
    elif rng.random() < 0.4:
        shape["window"] = [rng.choice((-1, 0, 20)) for _ in range(2)]
    hidden = rng.choice((1, 16, 24, 40, 72, 130, 200, 300))
    shape["allreduce"] = {"ranks": ranks, "hidden": hidden, "bias": rng.random() < 0.5}
    tiling: dict[str, Any] = SMALL | {"mask_block": 256, "block_dim": rng.choice((1, 2, 3))}
    if rng.random() < 0.7:
        cuts = sorted({rng.randint(1, tokens) for _ in range(rng.randint(0, 5))} | {tokens})
        tiling["token_blocks"] = [b - a for a, b in pairwise([0, *cuts])]
    if rng.random() < 0.5:
        tiling["tiles_per_step"] = rng.choice((1, 2, 5))
    case = {"kind": "legal", "backend": "sim", "soc": rng.choice(SOCS), "shape": shape, "tiling": tiling}
    return case | {"seed": rng.randrange(2**31)}


def attention_case(seed: int, index: int) -> Case:
    rng = random.Random(f"legal {seed} {index}")
    backend = "cpu" if rng.random() < 0.15 else "sim"
    shape = _sizes(rng)
    packed = rng.random() < 0.25
    _lengths(rng, shape, packed, backend)
    _scores(rng, shape, packed)
    tiling = dict(rng.choice(TILINGS)) if backend == "sim" else {}
    soc = rng.choice(SOCS)
    case = {"kind": "legal", "backend": backend, "soc": soc, "shape": shape, "tiling": tiling}
    return case | {"seed": rng.randrange(2**31)}


def _sizes(rng: random.Random) -> dict[str, Any]:
    h_kv = rng.choice((1, 1, 1, 2, 3))
    d = rng.choice(HEAD_DIMS) if rng.random() < 0.7 else rng.randint(1, 96)
    s_q = rng.choice(BORDERS) if rng.random() < 0.6 else rng.randint(1, 150)
    s_kv = rng.choice(BORDERS + LONG_BORDERS) if rng.random() < 0.6 else rng.randint(1, 350)
    if rng.random() < 0.15:
        s_q, s_kv = min(s_q, 70), rng.choice(MANY_BLOCKS)
    elif rng.random() < 0.2:
        s_q = rng.choice(LONG_BORDERS)  # several query tiles a block
    shape: dict[str, Any] = {"b": rng.choice((1, 1, 2, 3)), "s_q": s_q, "s_kv": s_q if rng.random() < 0.15 else s_kv}
    shape |= {"h_q": h_kv * rng.choice((1, 1, 2, 4)), "h_kv": h_kv, "d": d}
    if rng.random() < 0.3:
        shape["d_v"] = rng.choice(HEAD_DIMS)
    shape["dtype"] = rng.choice(("fp16", "bf16"))
    return shape


def _lengths(rng: random.Random, shape: dict[str, Any], packed: bool, backend: str) -> None:
    b, s_q, s_kv = shape["b"], shape["s_q"], shape["s_kv"]
    keys = [s_kv] * b
    if backend == "cpu" and rng.random() < 0.3:
        shape["page_size"] = rng.choice((16, 32, 48))
    if packed:
        shape["layout"] = "tnd"
        shape["seqlens_q"] = [rng.choice((0, 1, s_q, rng.randint(0, s_q))) for _ in range(b)]
        if "page_size" not in shape:
            keys = shape["seqlens_k"] = [rng.choice((0, 1, s_kv, rng.randint(0, s_kv))) for _ in range(b)]
    else:
        shape["layout"] = rng.choice(("bshd", "bnsd", "bsh"))
    if rng.random() < 0.25:
        shape["seqused_k"] = [rng.choice((0, n, rng.randint(0, n))) for n in keys]


def _scores(rng: random.Random, shape: dict[str, Any], packed: bool) -> None:
    reach = max(shape["s_q"], shape["s_kv"])
    if rng.random() < 0.4:
        shape["causal"] = True
    if rng.random() < 0.3:
        shape["window"] = [rng.choice((-1, 0, rng.randint(0, reach))) for _ in range(2)]
    if rng.random() < 0.2:
        shape["softcap"] = round(rng.uniform(0.5, 30), 3)
    if rng.random() < 0.2:
        shape["alibi"] = rng.choice(("head", "batch"))
    if rng.random() < 0.2:
        shape["sinks"] = True
    if not packed and rng.random() < 0.25:
        shape["mask"] = rng.choice(("bool", "additive", "fp32"))
        shape["mask_dims"] = "".join(x for x in "bhqk" if rng.random() < 0.6) or "k"
    if rng.random() < 0.1:
        shape["softmax_scale"] = rng.choice((0.0, -0.2, 0.01, 1.0))
