"""Where each layer's KV heads live, and what a decode step is then expected to cost.

The paper (FastAttention, arXiv 2410.16663, section 4.4) describes the strategy; its formulas could not be obtained.
These are ours. The unit of placement is one KV head of one layer, so that neither layers nor the cache as a whole go all or
nothing. docs/long_context.md derives every term.

    unit_bytes  = 2 * batch * tokens * d * element_bytes            K and V of one head of one layer
    memory:       gpu_units * unit_bytes + staging_bytes + reserve_bytes <= gpu_free_bytes
                  cpu_units * unit_bytes                         <= host_free_bytes
                  gpu_units + cpu_units = layers * kv_heads
    layer(c)    = dense_s + max(gpu(H - c), host(c))                c of H heads on the host, one sequence group
    gpu(n)      = n * unit_bytes / gpu_gbps + launch_s
    host(c)     = 0 if c = 0, else round_trip_s + c * qo_bytes / bus + c * unit_bytes / cpu_gbps
    step        = sum of layer(c) over layers
    groups g    : step of all groups = max(g * sum of (dense_s + gpu), g * sum of host, step of one group)
    classical   : max(cpu_units * unit_bytes / h2d_gbps, step with everything resident)
"""

from __future__ import annotations

from dataclasses import dataclass, field

GB = 1e9


@dataclass(frozen=True)
class CacheShape:
    """The cache of a whole decoder: sizes in elements, tokens per sequence (the capacity planned for)."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    batch: int
    tokens: int
    element_bytes: int = 2

    @property
    def unit_bytes(self) -> int:
        """K and V of one KV head of one layer."""
        return 2 * self.batch * self.tokens * self.head_dim * self.element_bytes

    @property
    def total_bytes(self) -> int:
        return self.layers * self.kv_heads * self.unit_bytes

    @property
    def exchange_bytes(self) -> int:
        """q, new k, new v and o of one KV head's group: what crosses the bus for one offloaded head and step."""
        return self.batch * self.head_dim * self.element_bytes * (2 * self.heads // self.kv_heads + 2)


@dataclass(frozen=True)
class Machine:
    """Measured quantities (measure.py) or stated ones. Bandwidths in GB/s (1e9), memory in bytes, times in seconds."""

    gpu_free_bytes: int
    host_free_bytes: int
    h2d_gbps: float
    d2h_gbps: float
    cpu_gbps: float  # K and V bytes that CPU decode attention reads a second
    gpu_gbps: float  # the same on the accelerator
    round_trip_s: float = 50e-6  # q down, worker wake-up, o up: everything of an offloaded layer but its bytes
    launch_s: float = 10e-6  # one attention call on the accelerator without bytes
    dense_s: float = 0.0  # one layer without its attention: projections, norms, feed-forward


@dataclass(frozen=True)
class OffloadPlan:
    """cpu_heads[l]: how many (the last) KV heads of layer l the host keeps."""

    shape: CacheShape
    cpu_heads: tuple[int, ...]
    predicted_s: float = 0.0
    reasons: tuple[str, ...] = field(default=())

    @property
    def cpu_units(self) -> int:
        return sum(self.cpu_heads)

    @property
    def gpu_bytes(self) -> int:
        return (self.shape.layers * self.shape.kv_heads - self.cpu_units) * self.shape.unit_bytes

    @property
    def cpu_bytes(self) -> int:
        return self.cpu_units * self.shape.unit_bytes

    @property
    def granularity(self) -> str:
        partial = [c for c in self.cpu_heads if 0 < c < self.shape.kv_heads]
        return "none" if self.cpu_units == 0 else "layer" if not partial else "head"


def host_seconds(shape: CacheShape, machine: Machine, heads: int, tokens: int) -> float:
    """One layer's attention of `heads` KV heads on the host, transfers included."""
    if heads == 0:
        return 0.0
    read = heads * shape.unit_bytes * tokens / max(shape.tokens, 1)
    bus = heads * shape.exchange_bytes / (min(machine.h2d_gbps, machine.d2h_gbps) * GB)
    return machine.round_trip_s + bus + read / (machine.cpu_gbps * GB)


def gpu_seconds(shape: CacheShape, machine: Machine, heads: int, tokens: int) -> float:
    if heads == 0:
        return 0.0
    return machine.launch_s + heads * shape.unit_bytes * tokens / max(shape.tokens, 1) / (machine.gpu_gbps * GB)


def predict_step(
    shape: CacheShape,
    machine: Machine,
    cpu_heads: tuple[int, ...],
    tokens: int | None = None,
    strategy: str = "cooperative",
    groups: int = 1,
) -> float:
    """Expected seconds of one decode step of all groups, `tokens` of the cache in use.

    strategy "cooperative": offloaded heads attend on the host. "classical": they are copied to the accelerator every
    step, double-buffered. "resident": cpu_heads is ignored, everything is on the accelerator.
    """
    used = shape.tokens if tokens is None else tokens
    heads = shape.kv_heads
    resident = sum(machine.dense_s + gpu_seconds(shape, machine, heads, used) for _ in cpu_heads)
    if strategy == "resident":
        return groups * resident
    if strategy == "classical":
        moved = sum(cpu_heads) * shape.unit_bytes * used / max(shape.tokens, 1)
        return groups * max(moved / (machine.h2d_gbps * GB), resident)
    host = [host_seconds(shape, machine, c, used) for c in cpu_heads]
    device = [gpu_seconds(shape, machine, heads - c, used) for c in cpu_heads]
    one = sum(machine.dense_s + max(h, g) for h, g in zip(host, device, strict=True))
    busy = sum(device) + machine.dense_s * shape.layers
    return max(groups * busy, groups * sum(host), one)


def spread(units: int, layers: int, heads: int) -> tuple[int, ...]:
    """`units` heads over all layers as evenly as they go, the larger shares last (their prefill ends last)."""
    base, extra = divmod(units, layers)
    return tuple(base + (1 if layer >= layers - extra else 0) for layer in range(layers)) if heads else ()


def whole_layers(units: int, layers: int, heads: int) -> tuple[int, ...]:
    """`units` heads as whole layers, the remainder in one more, spaced to alternate with resident ones."""
    full, rest = divmod(units, heads)
    chosen = [0] * layers
    count = full + (1 if rest else 0)
    places = [int((i + 0.5) * layers / count) for i in range(count)] if count else []
    for i, place in enumerate(places):
        chosen[place] = heads if i < full else rest
    return tuple(chosen)


def plan_offload(
    shape: CacheShape,
    machine: Machine,
    *,
    reserve_bytes: int = 0,
    granularity: str = "auto",
    groups: int = 1,
    least_units: int = 0,
) -> OffloadPlan:
    """The placement that fits both memories and is expected to decode fastest.

    Args:
        shape: the cache, at the number of tokens it must hold.
        machine: measured bandwidths and free memory.
        reserve_bytes: accelerator memory for weights not yet loaded, activations and prefill's hidden states.
        granularity: "layer" (whole layers, and one partial layer for the remainder), "head" (every layer gives up some
            heads, so that host and accelerator attend at the same time), or "auto": whichever is expected to be faster.
        groups: sequence groups decoded in turn, so that the host attends one while the accelerator computes another.
        least_units: offload at least so many heads (benchmarks).
    Returns: an OffloadPlan with the expected time of a step at full length.
    Raises: ValueError with every reason at once when the cache does not fit.
    Limits: the model takes bandwidths as constants; it does not see other users of the bus or of memory.
    Source: FastAttention section 4.4 for the strategy; the formulas are this project's (module docstring).
    """
    heads, layers = shape.kv_heads, shape.layers
    units = layers * heads
    reasons: list[str] = []
    if granularity not in ("auto", "layer", "head"):
        reasons.append(f"granularity is {granularity!r}, must be auto, layer or head")
    best: OffloadPlan | None = None
    for kind in ("layer", "head") if granularity == "auto" else (granularity,):
        split = whole_layers if kind == "layer" else spread
        for cpu_units in range(min(least_units, units), units + 1):
            cpu_heads = split(cpu_units, layers, heads)
            staging = 2 * max(cpu_heads) * shape.unit_bytes  # cache.py's two slots
            if (units - cpu_units) * shape.unit_bytes + staging + reserve_bytes <= machine.gpu_free_bytes:
                expected = predict_step(shape, machine, cpu_heads, groups=groups)
                if best is None or expected < best.predicted_s:
                    best = OffloadPlan(shape, cpu_heads, expected)
                break
    if best is None:
        reasons.append(
            f"accelerator: even with everything offloaded, staging and {reserve_bytes} reserved bytes exceed the "
            f"{machine.gpu_free_bytes} bytes free: use a head-granular plan, fewer tokens, or a larger card"
        )
    elif best.cpu_bytes > machine.host_free_bytes:
        reasons.append(
            f"host: {best.cpu_bytes} bytes of K and V must be offloaded, {machine.host_free_bytes} bytes are free: "
            "use fewer tokens or sequences, or a host with more memory"
        )
    if reasons or best is None:
        raise ValueError(f"plan_offload: {shape}: " + "; ".join(reasons))
    return best
