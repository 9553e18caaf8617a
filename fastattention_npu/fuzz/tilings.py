"""Random tilings: values of the fields that a tiling file takes, from their limits table, most of them legal together.

op_host chooses what is not drawn. It alone knows which values go together: a field is kept if it still finds a plan.
Some of the tilings start as those of a long problem, which op_host would never choose for a small one.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from ..arguments import check_arguments
from ..config import FUSED_FIELDS, TilingConfig, shape_from_dict, tiling_limits
from ..dispatch import Backend, make_backend
from ..distributed.layer import plan_layer
from ..errors import RefusedError
from ..inputs import make_inputs
from ..kernel_call import plan_problem
from ..limits import Limit
from ..options import Options
from ..sim.launch import plan_call

Fields = dict[str, Any]
UNASKED_SHARE = 0.1  # of the tilings: drawn without asking op_host, which must refuse those that do not go together
UNASKED_FIELDS = 5  # of them at most
LONG_SHARE = 0.2  # of the others: the tiling of a problem of one of LENGTHS, with a few fields drawn anew
LENGTHS = (1024, 2048, 4096, 8192, 16384)
PROBLEM_FIELDS = ("block_dim", "pack_gqa", "schedule")  # of a long problem's tiling: left to op_host
TRIES = 5  # values of a field
FEW = 8  # values that are all as likely; of more, powers of two are more likely than others
MANY = 1024  # values of which small ones are more likely besides; of fewer, large ones


def drawn_tiling(rng: random.Random, shape: Mapping[str, Any], soc: str | None, given: Mapping[str, Any]) -> Fields:
    """Some fields drawn in the table's order (blocks before their tiles) or any, into a long problem's or op_host's.

    given: token_blocks and tiles_per_step, which stay.
    """
    rows = tiling_limits()
    fields = {name: given[name] for name in FUSED_FIELDS if name in given}
    names = rng.sample(sorted(rows), rng.choice((3, len(rows), len(rows), len(rows))))
    if rng.random() < UNASKED_SHARE:
        return fields | {name: drawn_value(rng, rows[name]) for name in names[:UNASKED_FIELDS]}
    if rng.random() < 0.75:
        names.sort(key=list(rows).index)
    accepts = planner(shape, soc)
    if rng.random() < LONG_SHARE:
        names = names[: rng.randrange(4)]
        long = fields | long_tiling(rng, shape, soc)
        fields = long if accepts(long) else fields
    for name in names:
        for _ in range(TRIES):
            wider = fields | {name: related_value(rng, rows[name], fields)}
            if accepts(wider):
                fields = wider
                break
    return fields


def related_value(rng: random.Random, row: Limit, fields: Fields) -> int | str:
    """A value of the row, often one that stands in a small ratio to a field drawn before, as tiles do to blocks."""
    parts = [x // part for x in fields.values() if isinstance(x, int) for part in (1, 2, 4)]
    parts = [x for x in parts if row.holds(x)]
    return rng.choice(parts) if parts and not row.names and rng.random() < 0.6 else drawn_value(rng, row)


def long_tiling(rng: random.Random, shape: Mapping[str, Any], soc: str | None) -> Fields:
    """The fields that op_host chooses for as many heads and channels with long sequences."""
    length = rng.choice(LENGTHS)
    sizes = {name: shape[name] for name in ("b", "h_q", "h_kv", "d", "dtype")} | {"s_q": length, "s_kv": length}
    sizes |= {"layout": "bshd", "causal": bool(shape.get("causal")), "d_v": shape.get("d_v", shape["d"])}
    config = _simulator(soc).soc
    assert config is not None, "a simulator has a SoC"
    tiling = plan_problem(sizes, config)["tiling"]
    return {name: tiling[name] for name in tiling_limits() if name not in PROBLEM_FIELDS}


def drawn_value(rng: random.Random, row: Limit) -> int | str:
    """One value that the row takes on its own."""
    if row.names:
        return rng.choice(row.names)
    assert row.max is not None, "tiling fields are bounded"
    most = row.max // row.multiple
    if most - row.min // row.multiple < FEW:
        return rng.randrange(row.min, row.max + 1, row.multiple)
    powers = [rng.randrange(most.bit_length()) for _ in range(2)]
    power = max(powers) if most < MANY else min(powers)
    steps = 2**power if rng.random() < 0.75 else rng.randrange(2**power, 2 ** (power + 1))
    return max(row.min, min(steps, most) * row.multiple) if rng.random() < 0.9 else row.min


def planner(shape: Mapping[str, Any], soc: str | None) -> Callable[[Fields], bool]:
    """Whether op_host finds a plan of the shape with given fields."""
    checked = shape_from_dict(dict(shape), "fuzz")
    arguments = make_inputs(checked, device="meta")
    q, k, v = (arguments.pop(name) for name in "qkv")
    options = Options.from_names(arguments, "fuzz")
    problem = check_arguments(q, k, v, options, "sim")

    def accepts(fields: Fields) -> bool:
        try:
            if checked.allreduce is not None:
                plan_layer(checked, backend_of(soc, fields))
            else:
                plan_call(q, k, v, options, problem, backend_of(soc, fields))
        except RefusedError:
            return False
        return True

    return accepts


def backend_of(soc: str | None, fields: Mapping[str, Any]) -> Backend:
    """The simulator on one thread, with the fields as a tiling file would give them; without any, op_host's choice."""
    fused = {name: fields[name] for name in FUSED_FIELDS if name in fields}
    plain = {name: x for name, x in fields.items() if name not in fused}
    return replace(_simulator(soc), tiling=TilingConfig(plain, "fuzz", fused) if fields else None)


@cache
def _simulator(soc: str | None) -> Backend:
    return make_backend("sim", soc=soc, threads=1)
