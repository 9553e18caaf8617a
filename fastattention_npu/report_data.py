"""What the report page shows, as one JSON-able dict: the numbers of a profile, arranged, nothing drawn.

Everything is simulated unless a key says modelled (op_host's cost model) or peak (the SoC file).
"""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from .backends import finite
from .profiling import Profile
from .timeline import AIC_PIPES, AIV_PIPES, KINDS, PIPE_ROLES, PIPES, event_name, stall_rows

SCHEMA = 1
OPERANDS = ("q", "k", "v", "mask", "seqused_k", "o", "lse")
STALLS_KEPT = 96  # the longest; the page shows fewer
BUFFER_KEYS = ("name", "offset_bytes", "slot_bytes", "slots", "end_bytes")
COLUMN_TYPES = {"f4": np.float32, "u4": np.uint32, "u2": np.uint16, "u1": np.uint8}


def report_data(profile: Profile) -> dict[str, Any]:
    raw, figures = profile.timeline.raw, profile.figures
    time_us = max(float(figures["time_us"]), 1e-9)
    model = profile.plan["model"]
    tflops = profile.useful_flops / time_us / 1e6
    peak = peaks(profile)
    data: dict[str, Any] = {
        "schema": SCHEMA,
        "figures": "simulated",
        "soc": profile.soc.name,
        "soc_values": profile.soc.values(),
        "shape": profile.shape.as_dict(),
        "tiling": {key: value for key, value in profile.plan["tiling"].items() if not isinstance(value, (list, tuple))},
        "summary": {key: value for key, value in figures.items() if key not in ("hazard_texts", "pipe_busy")}
        | {
            "tflops": tflops,
            "cube_utilisation": tflops / peak["tflops"],
            "limit_cycles": model["limit_cycles"],
            "efficiency": model["limit_cycles"] / max(figures["cycles"], 1),
            "kernel_cycles": raw["kernel_cycles"],
            "clock_mhz": profile.soc["clock.mhz"],
            "useful_flops": profile.useful_flops,
            "wall_s": profile.wall_s,
        },
        "modelled": dict(model),
        "peak": peak,
        "pipes": pipe_rows(profile),
        "stalls": stall_rows(profile.timeline, core_counts(profile))[:STALLS_KEPT],
        "utilisation": {"bins": raw["bins"], "pipes": profile.timeline.utilisation()},
        "memories": memory_rows(profile),
        "gm": gm_rows(profile),
        "groups": group_rows(profile),
        "hazards": [dict(hazard) for hazard in raw["hazards"]],
        "timeline": timeline_data(profile),
    }
    data["roofline"] = roofline(data)
    return finite(data)


def core_counts(profile: Profile) -> dict[str, int]:
    blocks = int(profile.plan["block_dim"])
    return {"aic": blocks, "aiv": 2 * blocks}


def peaks(profile: Profile) -> dict[str, Any]:
    """Peak rates of the whole chip, from the SoC file; None where it does not say."""
    soc = profile.soc.values()
    cores, mhz = soc["cores.aic"], soc["clock.mhz"]
    l2 = soc.get("shared.l2_read_bytes_per_cycle_per_aic")
    return {
        "tflops": float(profile.figures.get("peak_tflops") or cores * 2 * 16**3 * mhz / 1e6),
        "l2_gbps": l2 * cores * mhz / 1e3 if l2 else None,
        "hbm_gbps": soc.get("shared.hbm_gbps"),
        "cores": cores,
    }


def pipe_rows(profile: Profile) -> list[dict[str, Any]]:
    """Mean cycles of every pipe by what it did: busy, each cause of a stall, launch; the sum is the run's cycles."""
    raw = profile.timeline.raw
    counts = core_counts(profile)
    busy = np.asarray(raw["busy_cycles"]).reshape(-1, 3, len(PIPES))
    launch = float(profile.figures["cycles"]) - float(raw["kernel_cycles"])
    rows = []
    for kind, pipes in (("aic", AIC_PIPES), ("aiv", AIV_PIPES)):
        for name in pipes:
            pipe = PIPES.index(name)
            own = busy[:, :1, pipe] if kind == "aic" else busy[:, 1:, pipe]
            if name == "S" or not own.any():
                continue  # the scalar unit only issues: the model gives it no extent
            parts = dict.fromkeys(KINDS[2:], 0.0)
            for stall in raw["stalls"]:
                if stall["core_kind"] == kind and stall["pipe"] == pipe:
                    parts[stall["cause"]] += stall["cycles"] / counts[kind]
            cycles = {"busy": float(own.mean()), **parts, "launch": launch}
            # A core without work has no gaps to find: all of its time counts as the end.
            cycles["end"] += max(0.0, float(profile.figures["cycles"]) - sum(cycles.values()))
            rows.append({"pipe": f"{kind}.{name}", "role": PIPE_ROLES[name], "cycles": cycles})
    return rows


def memory_rows(profile: Profile) -> list[dict[str, Any]]:
    """Buffers by memory, in address order."""
    memories: dict[str, dict[str, Any]] = {}
    for buffer in profile.plan["buffers"]:
        name = buffer["memory"]
        limit = int(buffer["limit_bytes"])
        row = memories.setdefault(name, {"name": name, "limit_bytes": limit, "buffers": []})
        row["buffers"].append({key: buffer[key] for key in BUFFER_KEYS})
    for row in memories.values():
        row["buffers"].sort(key=lambda buffer: buffer["offset_bytes"])
        row["used_bytes"] = sum(buffer["slot_bytes"] * buffer["slots"] for buffer in row["buffers"])
        row["end_bytes"] = max(buffer["end_bytes"] for buffer in row["buffers"])
    if "workspace" in memories:  # its limit is the whole HBM: nothing to fill, so show it by itself
        memories["workspace"] |= {"limit_bytes": memories["workspace"]["end_bytes"], "unlimited": True}
    return list(memories.values())


def gm_rows(profile: Profile) -> list[dict[str, Any]]:
    """Traffic by tensor: operands in the kernel's order, then the workspace."""
    order = {name: i for i, name in enumerate(OPERANDS)}
    rows = [dict(row) for row in profile.timeline.raw["gm"]]
    return sorted(rows, key=lambda row: order.get(row["name"], len(order)))


def group_rows(profile: Profile) -> list[dict[str, Any]]:
    """When each core group had finished."""
    finish = np.asarray(profile.timeline.raw["finish_cycles"]).reshape(-1, 3)
    return [{"group": i, "finish_cycles": float(row.max())} for i, row in enumerate(finish)]


def roofline(data: Mapping[str, Any]) -> dict[str, Any]:
    """Useful operations per byte, at the L2 (all that the cores read) and at the HBM (each operand once)."""
    summary, gm = data["summary"], data["gm"]
    l2_bytes = summary["gm_bytes_read"]
    # Each operand once, at least; the workspace is read back at once and stays in L2.
    operands = [row for row in gm if row["name"] in OPERANDS]
    hbm_bytes = sum(min(row["bytes"], row["bytes_read"] + row["bytes_written"]) for row in operands)
    flops = summary["useful_flops"]
    return {
        "l2_bytes": l2_bytes,
        "hbm_bytes": hbm_bytes,
        "l2_flops_per_byte": flops / max(l2_bytes, 1),
        "hbm_flops_per_byte": flops / max(hbm_bytes, 1),
        "tflops": summary["tflops"],
    }


def column(values: Any, kind: str) -> dict[str, str]:
    """An array as base64 of little-endian numbers; decode_column() is the way back."""
    array = np.ascontiguousarray(np.asarray(values).astype(np.dtype(COLUMN_TYPES[kind]).newbyteorder("<")))
    return {"type": kind, "base64": base64.b64encode(array.tobytes()).decode("ascii")}


def decode_column(entry: Mapping[str, str]) -> np.ndarray:
    kind = np.dtype(COLUMN_TYPES[entry["type"]]).newbyteorder("<")
    return np.frombuffer(base64.b64decode(entry["base64"]), kind)


def timeline_data(profile: Profile) -> dict[str, Any]:
    """The events of the shown core group in columns, each with its track and its label."""
    timeline = profile.timeline
    raw, events, arrows = timeline.raw, timeline.events, timeline.arrows
    tracks = timeline.tracks()
    track_of = {track: i for i, track in enumerate(tracks)}
    labels: dict[str, int] = {}
    label = [labels.setdefault(event_name(timeline, i), len(labels)) for i in range(len(events["kind"]))]
    pairs = zip(events["core"].tolist(), events["pipe"].tolist(), strict=True)
    # Instructions count their tensor from 1; 0 means that they touch no GM.
    tensor = np.where(events["gm_bytes"] > 0, events["detail"] + 1, 0)
    return {
        "group": raw["cores"][0]["group"] if raw["cores"] else 0,
        "kernel_cycles": raw["kernel_cycles"],
        "until_cycles": raw["until_cycles"],
        "omitted_events": raw["omitted_events"],
        "tracks": [{"core": timeline.core_name(core), "pipe": PIPES[pipe]} for core, pipe in tracks],
        "kinds": list(KINDS),
        "labels": list(labels),
        "lines": raw["sites"],
        "tensors": timeline.tensors,
        "events": {
            "track": column([track_of[pair] for pair in pairs], "u1"),
            "kind": column(events["kind"], "u1"),
            "start": column(events["start"], "f4"),
            "end": column(events["end"], "f4"),
            "label": column(label, "u2"),
            "line": column(events["site"], "u4"),
            "tensor": column(tensor, "u1"),
            "gm_bytes": column(events["gm_bytes"], "u4"),
        },
        "arrows": {
            "from": column(arrows["from"], "u4"),
            "to": column(arrows["to"], "u4"),
            "cross": column(arrows["cross"], "u1"),
            "id": column(arrows["id"], "u2"),
        },
    }
