"""`fastattn run`: one shape on one backend, checked against float64."""

import argparse
import json
from collections.abc import Sequence

from ..backends import RunResult, run
from ..config import ShapeConfig, load_shape
from ..dispatch import make_backend
from ..reference import ERROR_FACTOR, FLOOR
from . import allreduce
from .text import bar, byte_text, indent

HAZARDS_SHOWN = 5


def command(options: argparse.Namespace) -> int:
    """Exit status 0 only if the result is right and the simulator found no hazard."""
    shape = load_shape(options.shape)
    backend = make_backend(
        options.backend,
        soc=options.soc,
        tiling=options.tiling,
        threads=options.threads,
        checks=options.checks == "on",
    )
    if shape.allreduce is not None:
        return allreduce.run(shape, backend, options.seed, options.json)
    result = run(shape, backend, options.seed)
    print(json.dumps(result.as_dict()) if options.json else describe(result))
    return 0 if result.ok and result.hazards == 0 else 1


def shape_line(shape: ShapeConfig) -> str:
    sizes = " ".join(f"{key}={getattr(shape, key)}" for key in ("b", "s_q", "s_kv", "h_q", "h_kv", "d"))
    sizes += "" if shape.d_v is None else f" d_v={shape.d_v}"
    words = [f"{shape.dtype} {shape.layout}", *(shape.features() or ["not causal"])]
    return f"{shape.name}: {sizes} {', '.join(words)}, softmax_scale={shape.scale():.6g}"


def describe(result: RunResult) -> str:
    lines = [shape_line(result.shape), *(_sim_lines(result) if result.backend.name == "sim" else _host_lines(result))]
    errors = result.out
    lines.append(
        f"accuracy    max abs error {errors.max_abs_err:.2e} (fp64 reference; PyTorch in {result.shape.dtype} has "
        f"{errors.ref_max_abs_err:.2e}), relative {errors.rel_err:.2e} ({errors.ref_rel_err:.2e}); "
        f"allowed {ERROR_FACTOR:g}x + {FLOOR:g}"
    )
    lines += [f"FAILED      {reason}" for reason in result.as_dict()["reasons"]]
    lines.append(f"result      {'ok' if result.ok and result.hazards == 0 else 'FAILED'}")
    return "\n".join(lines)


def _host_lines(result: RunResult) -> list[str]:
    tflops = result.figures["tflops"]
    if result.backend.name == "npu":
        return _npu_lines(result)
    return [f"backend     {result.backend.name}, {result.wall_s:.6f} s, {tflops:.3f} TFLOPS (measured on this machine)"]


def _npu_lines(result: RunResult) -> list[str]:
    x = result.figures
    how = f"SIMULATED ({x['runner']}, no chip was involved)" if result.simulated else "measured on the card"
    launches = f"median of {x['launches']} launches" if x["launches"] > 1 else "one launch"
    return [
        f"backend     npu: {x['device']}, {how}",
        f"time        {x['time_us']:.1f} us between events, {launches}",
        f"rate        {x['tflops']:.2f} TFLOPS",
    ]


def _sim_lines(result: RunResult) -> list[str]:
    backend, x = result.backend, result.figures
    assert backend.soc is not None, "a sim backend has a SoC"
    tiling = result.plan["tiling"]
    fields = (
        "block_q",
        "slice_q",
        "block_kv",
        "ring",
        "preload",
        "s_exchange",
        "l1_tile_kv",
        "l0_tile_kv",
        "strip_rows",
        "block_dim",
    )
    width = max(map(len, x["pipe_busy"]), default=0)
    busy = sorted(x["pipe_busy"].items(), key=lambda item: -item[1])
    time = f"{x['time_us']:.1f} us simulated, {x['cycles']:,.0f} cycles at {backend.soc['clock.mhz']:.0f} MHz"
    share = f"cube utilisation {x['cube_utilisation']:.1%} of {x['peak_tflops']:.1f}"
    limit = f"{x['limit_cycles']:,.0f} cycles modelled, efficiency {x['efficiency']:.1%}"
    traffic = f"{byte_text(x['gm_bytes_read'])} read, {byte_text(x['gm_bytes_written'])} written"
    return [
        f"backend     sim: {backend.soc.name}, SIMULATED (no chip was involved), checks {_on(backend.checks)}",
        "tiling      " + " ".join(f"{key}={tiling[key]}" for key in fields if key in tiling),
        f"            chosen by {result.plan['chosen_by']}",
        f"time        {time}",
        f"rate        {x['tflops']:.1f} TFLOPS simulated, {share}",
        f"limit       {limit}, busiest pipe {x['bottleneck']}",
        f"memory      {traffic}, {byte_text(x['l2_hit_bytes'])} hit L2 (simulated)",
        "pipes       share of the simulated time that each is busy",
        indent("\n".join(f"{pipe:<{width}} {bar(part)}" for pipe, part in busy), 12),
        *_hazard_lines(result),
        f"host        {result.wall_s:.2f} s to simulate",
    ]


def _hazard_lines(result: RunResult) -> list[str]:
    if not result.backend.checks:
        return ["hazards     not looked for"]
    warnings = result.figures.get("warning_texts", ())
    lines = [f"hazards     {result.hazards}", *_first(result.figures.get("hazard_texts", ()))]
    return [*lines, f"warnings    {len(warnings)}", *_first(warnings)] if warnings else lines


def _first(texts: Sequence[str]) -> list[str]:
    more = [f"            ... and {len(texts) - HAZARDS_SHOWN} more"] if len(texts) > HAZARDS_SHOWN else []
    return [*(f"            {text}" for text in texts[:HAZARDS_SHOWN]), *more]


def _on(flag: bool) -> str:
    return "on" if flag else "off"
