"""What to change first: concrete advice from the numbers of a simulated run. Pure functions over report_data().

Each piece names the figure it stands on, and the tiling fields to try with op_host's own answer for them: whether they
fit and what its cost model says. Thresholds decide only whether a piece is worth reading.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .timeline import CROSS_CORE_FLAGS

LAUNCH_SHARE = 0.2
IMBALANCE = 0.08
STALL_SHARE = 0.08
BOUND_SHARE = 0.75
RE_READ = 3.0
FREE_SHARE = 0.35

# What loads each pipe, and the fields that change it: each trial is fields and the factors they grow by.
BY_PIPE: Mapping[str, tuple[str, Sequence[Mapping[str, float]]]] = {
    "aiv.V": ("softmax and the update of O; longer strips mean fewer, longer instructions and fewer barriers",
              ({"strip_rows": 2}, {"block_kv": 2}, {"block_kv": 0.5})),
    "aic.M": ("the matrix products themselves: this is where a good kernel ends; larger cube tiles have less start-up",
              ({"l0_tile_kv": 2}, {"block_q": 2})),
    "aic.MTE1": ("loads of L0A and L0B; larger cube tiles load each operand less often",
                 ({"l0_tile_kv": 2}, {"block_q": 2})),
    "aic.MTE2": ("loads of K, V and P; K and V are read once for each query block, so more rows in a block mean less",
                 ({"block_q": 2}, {"l1_tile_kv": 2})),
    "aic.FIX": ("S and the partial O on their way to the workspace; a longer run of keys stores O less often",
                ({"block_kv": 2}, {"block_q": 2})),
    "aiv.MTE2": ("loads of S, the partial O and the mask; a longer run of keys loads O less often",
                 ({"block_kv": 2}, {"strip_rows": 2})),
    "aiv.MTE3": ("stores of P; longer strips have less start-up", ({"strip_rows": 2}, {"block_kv": 2})),
}  # fmt: skip

CAUSE_TEXT = {
    "flag": "waits for another pipe",
    "cross_core": "waits for the other cores of the group",
    "barrier": "waits for its own earlier results, at barriers,",
    "issue": "has nothing issued to it",
}


@dataclass(frozen=True)
class Advice:
    """One thing to change.

    share: of the run's time that it is about; 0 where that is not the point. fields: trials, each tiling fields and the
    factors they grow by.
    """

    title: str
    detail: str
    share: float = 0.0
    line: str = ""
    fields: Sequence[Mapping[str, float]] = ()
    first: bool = True  # False: behind everything that is a loss of time


def advise(
    data: Mapping[str, Any], try_tiling: Callable[[Mapping[str, int]], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Advice, most valuable first, as dicts with `trials`: op_host's answer for each field to try.

    try_tiling({field: value}) answers {"cycles": modelled} or {"refused": reason}.
    """
    about_time = sorted(_about_time(data), key=lambda piece: (not piece.first, -piece.share))
    pieces = [*_hazards(data), *about_time, *_warnings(data)]
    rows = []
    tried: set[tuple[tuple[str, int], ...]] = set()
    for piece in pieces:
        trials = []
        for factors in piece.fields:
            values = {field: round(data["tiling"][field] * factor) for field, factor in factors.items()}
            key = tuple(sorted(values.items()))
            if key not in tried:
                tried.add(key)
                trials.append({"values": values, "now": {f: data["tiling"][f] for f in values}, **try_tiling(values)})
        rows.append({**asdict(piece), "fields": [dict(factors) for factors in piece.fields], "trials": trials})
    return rows


def _about_time(data: Mapping[str, Any]) -> Iterator[Advice]:
    for rule in (_launch, _idle_cores, _imbalance, _binding_pipe, _stalls, _re_reads, _free_ub):
        yield from rule(data)


def _name(pipe: str) -> str:
    kind, name = pipe.split(".")
    return f"{kind.upper()} {name}"


def _binding(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return max(data["pipes"], key=lambda row: row["cycles"]["busy"])


def _hazards(data: Mapping[str, Any]) -> Iterator[Advice]:
    if data["hazards"]:
        count = len(data["hazards"])
        detail = f"The result is a matter of luck until these are ordered. The first: {data['hazards'][0]['text']}"
        yield Advice(f"Repair {count} hazard{'s' if count > 1 else ''} before anything else", detail)


def _warnings(data: Mapping[str, Any]) -> Iterator[Advice]:
    texts = data["summary"].get("warning_texts", ())
    if texts:
        yield Advice(f"Look at {len(texts)} warning{'s' if len(texts) > 1 else ''} of the simulator", texts[0])


def _launch(data: Mapping[str, Any]) -> Iterator[Advice]:
    cycles, kernel = data["summary"]["cycles"], data["summary"]["kernel_cycles"]
    share = 1 - kernel / cycles
    if share > LAUNCH_SHARE:
        yield Advice(
            f"{share:.0%} of the time is launch overhead",
            f"{cycles - kernel:,.0f} of {cycles:,.0f} cycles pass before a core works. No tiling changes that: put "
            "more work into a launch (a larger batch, more heads, longer sequences), or capture launches in a graph.",
            share,
        )


def _idle_cores(data: Mapping[str, Any]) -> Iterator[Advice]:
    used, cores = data["tiling"]["block_dim"], data["peak"]["cores"]
    if used < cores:
        share = (1 - used / cores) * data["summary"]["kernel_cycles"] / data["summary"]["cycles"]
        yield Advice(
            f"{cores - used:.0f} of {cores:.0f} core groups have no work",
            f"The problem divides into tasks for {used} core groups only. Smaller query blocks make more tasks.",
            share,
            fields=({"block_q": 0.5},),
        )


def _imbalance(data: Mapping[str, Any]) -> Iterator[Advice]:
    finish = [row["finish_cycles"] for row in data["groups"]]
    last, mean = max(finish), sum(finish) / len(finish)
    share = (last - mean) / data["summary"]["cycles"]
    if share > IMBALANCE:
        slowest = finish.index(last)
        yield Advice(
            f"Core group {slowest} finishes {last - mean:,.0f} cycles after the average",
            f"The others wait for it: {share:.0%} of the time. Smaller query blocks divide the work more evenly.",
            share,
            fields=({"block_q": 0.5},),
        )


def _binding_pipe(data: Mapping[str, Any]) -> Iterator[Advice]:
    row = _binding(data)
    share = row["cycles"]["busy"] / data["summary"]["kernel_cycles"]
    about, fields = BY_PIPE[row["pipe"]]
    bound = "The kernel is bound by" if share > BOUND_SHARE else "The busiest pipe is"
    yield Advice(
        f"{bound} {_name(row['pipe'])}: busy {share:.0%} of the kernel's time",
        f"It does {about}. Nothing else makes the kernel much faster while this pipe is full."
        if share > BOUND_SHARE
        else f"It does {about}. No pipe is full, so waiting costs more than work: see the stalls.",
        # A pipe that is not full is context, not a reason: it comes after what holds it up.
        share * data["summary"]["kernel_cycles"] / data["summary"]["cycles"],
        first=share > BOUND_SHARE,
        fields=fields,
    )


def _top_stall(data: Mapping[str, Any], pipe: str) -> Mapping[str, Any] | None:
    """The longest stall of a pipe that another instruction caused."""
    own = (row for row in data["stalls"] if row["pipe"] == pipe and row["cause"] not in ("start", "end"))
    return next(own, None)  # they come longest first


def wait_chain(data: Mapping[str, Any], pipe: str) -> tuple[list[str], bool]:
    """The pipes that hold up `pipe`, each waiting most for the next, and whether the last waits for an earlier one."""
    busy = {row["pipe"]: row["cycles"]["busy"] for row in data["pipes"]}
    chain = [pipe]
    while True:
        stall = _top_stall(data, chain[-1])
        if stall is None:
            return chain, False
        setter = f"{chain[-1][:3]}.{stall['from']}" if stall["cause"] == "flag" else ""
        if stall["cause"] == "cross_core":
            setter = CROSS_CORE_FLAGS.get(stall["flag"], ("", ""))[1]
        if setter in chain:
            return chain, True
        # A pipe that works longer than it waits is where the chain comes from.
        waits = sum(row["cycles"] for row in data["stalls"] if row["pipe"] == chain[-1])
        if setter not in busy or (len(chain) > 1 and busy[chain[-1]] > waits):
            return chain, False
        chain.append(setter)


def _stalls(data: Mapping[str, Any]) -> Iterator[Advice]:
    """What holds up the busiest pipe: time gained there is time gained."""
    row, total = _binding(data), data["summary"]["cycles"]
    stall = _top_stall(data, row["pipe"])
    share = sum(x for c, x in row["cycles"].items() if c not in ("busy", "launch", "start", "end")) / total
    if stall is None or share < STALL_SHARE:
        return
    chain, loops = wait_chain(data, row["pipe"])
    root = next(r for r in data["pipes"] if r["pipe"] == chain[-1])
    cause = max(CAUSE_TEXT, key=lambda c: root["cycles"][c])
    detail = f"It {stall['text']}." if stall["cause"] == "cross_core" else f"Mostly {stall['text']}."
    if len(chain) > 1:
        detail += f" Follow the waits: {' ← '.join(map(_name, chain))}."
    if loops:
        cause = "cross_core"
        detail += " They go round in a circle: the stages of one block wait for each other and no pipe is full."
    elif len(chain) > 1:
        works, waits = (root["cycles"][c] / total for c in ("busy", cause))
        detail += (
            f" {_name(root['pipe'])} works {works:.0%} of the run and {CAUSE_TEXT[cause]} {waits:.0%}: start there."
        )
    at_root = _top_stall(data, root["pipe"]) or stall
    yield Advice(
        f"{_name(row['pipe'])}, the busiest pipe, stands still {share:.0%} of the run",
        f"{detail} {_stall_remedy(cause)}",
        share,
        at_root["line"],
        _stall_fields(cause, root["pipe"]),
    )


def _stall_remedy(cause: str) -> str:
    return {
        "flag": "A neighbouring pipe delivers too late or frees its buffer too late. Larger tiles per transfer, or "
        "work between the transfer's start and its use, hide it.",
        "cross_core": "More blocks in flight hide the hand-off: raise preload, and ring with it (ring > preload).",
        "barrier": "Every dependent instruction pays the pipe's latency. Longer instructions have fewer barriers: "
        "raise strip_rows, or interleave two independent strips.",
        "issue": "The scalar unit issues too late: fewer, larger instructions, and less address arithmetic between.",
    }[cause]


def _stall_fields(cause: str, pipe: str) -> Sequence[Mapping[str, float]]:
    if cause == "cross_core":
        return ({"preload": 1.5, "ring": 1.34}, {"block_kv": 2})
    if cause in ("barrier", "issue"):
        return ({"strip_rows": 2},) if pipe.startswith("aiv") else ({"l0_tile_kv": 2},)
    return ({"strip_rows": 2}, {"block_kv": 2}) if pipe.startswith("aiv") else ({"l1_tile_kv": 0.5}, {"block_q": 2})


def _re_reads(data: Mapping[str, Any]) -> Iterator[Advice]:
    for row in data["gm"]:
        times = row["bytes_read"] / max(row["bytes"], 1)
        if row["name"] == "k" and times > RE_READ:
            bytes_read = sum(r["bytes_read"] for r in data["gm"] if r["name"] in ("k", "v"))
            l2 = data["peak"]["l2_gbps"]
            share = min(1.0, bytes_read / l2 / 1e3 / data["summary"]["time_us"]) if l2 else 0.0
            yield Advice(
                f"K and V are read {times:.1f} times over",
                "Once for each block of queries that sees them. More rows in a query block read them less often; "
                "grouped heads that share K and V could share the read.",
                share,
                fields=({"block_q": 2},),
            )


def _free_ub(data: Mapping[str, Any]) -> Iterator[Advice]:
    for memory in data["memories"]:
        free = 1 - memory["end_bytes"] / memory["limit_bytes"]
        if memory["name"] == "UB" and free > FREE_SHARE:
            yield Advice(
                f"{free:.0%} of UB is unused",
                "Room for longer strips or longer runs of keys, which mean fewer and longer vector instructions.",
                0.01,
                fields=({"strip_rows": 2}, {"block_kv": 2}),
            )
