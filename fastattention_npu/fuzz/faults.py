"""Random illegal calls: a legal problem's arguments with one fault. Each must be refused with an error."""

import random
from collections.abc import Callable
from typing import Any

import torch

from .problems import Case, attention_case

Arguments = dict[str, Any]


def _with(**changes: Any) -> Callable[[Arguments], Arguments]:
    return lambda arguments: arguments | changes


def _changed(name: str, change: Callable[[torch.Tensor], Any]) -> Callable[[Arguments], Arguments | None]:
    """The argument changed, or None where it is not given: the fault does not apply."""
    return lambda a: None if a.get(name) is None else a | {name: change(a[name])}


def _lengths(values: Callable[[int], list[int]]) -> Callable[[Arguments], Arguments | None]:
    def fault(arguments: Arguments) -> Arguments | None:
        if arguments["layout"] != "tnd" or arguments.get("cu_seqlens_k") is None:
            return None
        starts = values(arguments["k"].size(0))
        count = arguments["cu_seqlens_k"].numel()
        starts = (starts + [starts[-1]] * count)[:count]
        return arguments | {"cu_seqlens_k": torch.tensor(starts, dtype=torch.int32)}

    return fault


def _used(value: int) -> Callable[[Arguments], Arguments]:
    return lambda a: a | {"seqused_k": torch.full((_batch(a),), value, dtype=torch.int32)}


def _batch(arguments: Arguments) -> int:
    packed = arguments["layout"] == "tnd"
    return arguments["cu_seqlens_q"].numel() - 1 if packed else arguments["q"].size(0)


def _not_packed(change: Callable[[Arguments], Arguments]) -> Callable[[Arguments], Arguments | None]:
    return lambda a: None if a["layout"] == "tnd" else change(a)


def _wider_query(arguments: Arguments) -> Arguments | None:
    if arguments["layout"] == "bsh" and arguments["head_dim"] == 1:
        return None  # one more head
    return arguments | {"q": torch.cat([arguments["q"]] * 2, -1)[..., : arguments["q"].size(-1) + 1]}


def _pages_beyond(arguments: Arguments) -> Arguments | None:
    table, used = arguments.get("block_table"), arguments.get("seqused_k")
    if table is None or (used is not None and not (used > 0).any()):
        return None  # no key in use, no page read
    return arguments | {"block_table": table + 10**6}


FAULTS: dict[str, Callable[[Arguments], Arguments | None]] = {
    "unknown layout": _with(layout="sbh"),
    "layout in use": _with(layout="bsh", head_dim=None),
    "rank of q": _changed("q", lambda x: x.unsqueeze(0)),
    "rank of v": _changed("v", lambda x: x[..., 0]),
    "dtype of k": _changed("k", lambda x: x.float()),
    "float64": lambda a: a | {name: a[name].double() for name in "qkv"},
    "integers": lambda a: a | {name: a[name].int() for name in "qkv"},
    "a key too few": _changed("v", lambda x: torch.cat([x, x], -2)),
    "another head dim": _wider_query,
    "no head dim": lambda a: None if a["layout"] == "bsh" else a | {name: a[name][..., :0] for name in "qkv"},
    "scale nan": _with(softmax_scale=float("nan")),
    "scale inf": _with(softmax_scale=float("-inf")),
    "softcap negative": _with(softcap=-1.0),
    "softcap inf": _with(softcap=float("inf")),
    "window -2": _with(window_left=-2),
    "window too far": _with(window_right=2**31),
    "splits": _with(num_splits=-1),
    "used negative": _used(-1),
    "used too many": _used(2**30),
    "used int64": lambda a: a | {"seqused_k": torch.zeros(_batch(a), dtype=torch.int64)},
    "used shape": lambda a: a | {"seqused_k": torch.zeros(_batch(a) + 1, dtype=torch.int32)},
    "used on meta": lambda a: a | {"seqused_k": torch.zeros(_batch(a), dtype=torch.int32, device="meta")},
    "slopes shape": _with(alibi_slopes=torch.ones(97)),
    "slopes dtype": lambda a: a | {"alibi_slopes": torch.ones(3).half()},
    "sinks shape": _with(sinks=torch.ones(97)),
    "sinks scalar": _with(sinks=torch.tensor(1.0)),
    "mask shape": _with(attn_mask=torch.ones(971, 5)),
    "mask dtype": _with(attn_mask=torch.ones(1, dtype=torch.int32)),
    "mask rank": _with(attn_mask=torch.ones(1, 1, 1, 1, 1)),
    "mask of packed": lambda a: a | {"attn_mask": torch.ones(1)} if a["layout"] == "tnd" else None,
    "starts without tnd": _not_packed(lambda a: a | {"cu_seqlens_q": torch.zeros(2, dtype=torch.int32)}),
    "max without tnd": _not_packed(lambda a: a | {"max_seqlen_k": 5}),
    "no starts": lambda a: a | {"cu_seqlens_q": None} if a["layout"] == "tnd" else None,
    "starts empty": lambda a: a | {"cu_seqlens_q": torch.zeros(0, dtype=torch.int32)} if a["layout"] == "tnd" else None,
    "starts fall": _lengths(lambda n: [0, n + 1, n]),
    "starts from 1": _lengths(lambda n: [1, n]),
    "starts beyond": _lengths(lambda n: [0, n + 5]),
    "max too short": lambda a: a | {"max_seqlen_q": -1} if a["layout"] == "tnd" else None,
    "table and rows": lambda a: (
        a
        | {"block_table": torch.zeros(_batch(a), 1, dtype=torch.int32), "cache_batch_idx": torch.zeros(_batch(a)).int()}
    ),
    "table dtype": lambda a: a | {"block_table": torch.zeros(_batch(a), 1)},
    "table rank": lambda a: a | {"block_table": torch.zeros(_batch(a), dtype=torch.int32)},
    "pages beyond": _pages_beyond,
    "head_dim": _not_packed(lambda a: a | {"head_dim": 10**6}),
    "sparse": _changed("q", lambda x: x.to_sparse()),
}


def illegal_case(seed: int, index: int) -> Case:
    """Case number `index` of a seed, with one of FAULTS."""
    rng = random.Random(f"illegal {seed} {index}")
    return attention_case(seed, index) | {"kind": "illegal", "fault": rng.choice(list(FAULTS))}
