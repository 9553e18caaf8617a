"""Decode bandwidth: our split-key kernel against the card's measured copy bandwidth, contiguous and paged.

Stage: measuring. A real run of the compute_75 PTX (or of the card's own target); the compute_70 PTX is emulated on
newer cards and is not timed there. Prints a line a case: shape | ms | GB/s | share of the copy bandwidth.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fastattention_npu.cuda import decoding, prefill


def median_ms(call, repeats: int = 20) -> float:
    """Median device time of one call, after warm-ups."""
    for _ in range(3):
        call()
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    for begin, end in events:
        begin.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(begin.elapsed_time(end) for begin, end in events)


def replayed(call):
    """The call as a graph, so that the host's share stays out of its time."""
    call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def copy_gbps(bytes_: int = 4 << 30) -> float:
    """Bytes read plus bytes written of a large device-to-device copy, per second."""
    source = torch.empty(bytes_, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    return 2 * bytes_ / median_ms(lambda: target.copy_(source)) / 1e6


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", type=int, default=75, choices=(70, 75))
    parser.add_argument("--splits", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    torch.manual_seed(0)
    limit = copy_gbps()
    print(f"copy: {limit:.0f} GB/s on {torch.cuda.get_device_name()}")
    b, group, page = 8, 8, 64
    for d in (128, 64):
        for h_kv, s_q, s_kv in ((4, 1, 32768), (8, 1, 32768), (8, 4, 32768), (8, 1, 8192)):
            k, v = (torch.randn(b, s_kv, h_kv, d, device="cuda").half() for _ in range(2))
            q = torch.randn(b, s_q, h_kv * group, d, device="cuda").half()
            table = torch.randperm(b * s_kv // page, device="cuda").int().view(b, -1)
            pages = [x.view(-1, page, h_kv, d) for x in (k, v)]
            arguments = prefill.ForwardArguments(causal=True)
            for splits in options.splits:
                for name, keys, block_table in (("contiguous", (k, v), None), ("paged", pages, table)):
                    cache = decoding.CacheArguments(block_table=block_table, num_splits=splits)
                    call = lambda: decoding.run(q, *keys, arguments, cache, options.arch)  # noqa: B023, E731
                    ms, host_ms = median_ms(replayed(call)), median_ms(call)
                    gbps = 2 * k.numel() * 2 / ms / 1e6
                    print(
                        f"sm{options.arch} decode {name:10} b={b} s_q={s_q} s_kv={s_kv} h={h_kv * group}:{h_kv} d={d} "
                        f"splits={splits} | {ms:7.3f} ms | {gbps:6.0f} GB/s | {gbps / limit:6.1%} of copy | "
                        f"{host_ms:7.3f} ms uncaptured",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
