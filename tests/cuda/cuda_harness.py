"""Runs one case through the kernels of one architecture and compares it with the reference.

Stage: checking. Outputs come from poisoned memory: the caching allocator is first filled with NaN.
"""

from __future__ import annotations

import torch
from cuda_reference import Case, alibi_slopes, attention, check

from fastattention_npu.cuda import prefill


def poison(bytes_: int, device: torch.device) -> None:
    """Leave NaN where the next allocations of the caching allocator will lie."""
    torch.full((max(bytes_, 1 << 20) // 2,), float("nan"), dtype=torch.float16, device=device)


def _inputs(case: Case, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator(device=device).manual_seed(len(case.id) * 7919 + case.s_q * 31 + case.s_kv + case.d)

    def draw(rows: int, heads: int, lead: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(*lead, rows, heads, case.d, device=device, generator=generator).half()

    if case.lengths:
        total_q, total_k = (sum(pair[i] for pair in case.lengths) for i in (0, 1))
        return draw(total_q, case.h_q, ()), draw(total_k, case.h_kv, ()), draw(total_k, case.h_kv, ())
    q, k, v = (draw(s, h, (case.b,)) for s, h in ((case.s_q, case.h_q), (case.s_kv, case.h_kv), (case.s_kv, case.h_kv)))
    if case.layout == "bnsd":
        q, k, v = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v))
    return q, k, v


def _arguments(case: Case, device: torch.device) -> prefill.ForwardArguments:
    arguments = prefill.ForwardArguments(case.scale, case.causal, case.window, case.softcap)
    if case.alibi:
        arguments.alibi_slopes = alibi_slopes(case.h_q, device)
    if case.lengths:
        for i, name in enumerate(("q", "k")):
            lengths = torch.tensor([0, *(pair[i] for pair in case.lengths)], device=device)
            setattr(arguments, f"cu_seqlens_{name}", lengths.cumsum(0).int())
            setattr(arguments, f"max_seqlen_{name}", max(pair[i] for pair in case.lengths))
    if case.used:
        arguments.seqused_k = torch.tensor(case.used, dtype=torch.int32, device=device)
    return arguments


def _sequences(case: Case) -> list[tuple[slice, slice, int]]:
    """(rows of q, rows of k, keys in use) of each sequence of a variable-length batch."""
    out, begin_q, begin_k = [], 0, 0
    for index, (n_q, n_k) in enumerate(case.lengths):
        used = min(n_k, case.used[index]) if case.used else n_k
        out.append((slice(begin_q, begin_q + n_q), slice(begin_k, begin_k + used), index))
        begin_q, begin_k = begin_q + n_q, begin_k + n_k
    return out


def run_case(case: Case, arch: int, device: torch.device) -> list[tuple[str, float, float]]:
    """[(what, error, tolerance)] of out and lse."""
    q, k, v = _inputs(case, device)
    poison(8 * q.numel(), device)
    out, lse = prefill.run(q, k, v, _arguments(case, device), arch)
    torch.cuda.synchronize(device)
    pairs = []
    if case.lengths:
        for rows, keys, _ in _sequences(case):
            pairs.append((out[rows], lse[:, rows], q[rows], k[keys], v[keys]))
    else:
        for i in range(case.b):
            used = case.used[i] if case.used else case.s_kv
            pairs.append((out[i], lse[i], q[i], k[i, :used], v[i, :used]))
    exact = [attention(*pair[2:], case, torch.float64) for pair in pairs]
    same = [attention(*pair[2:], case, torch.float16) for pair in pairs]
    results = []
    for name, index in (("out", 0), ("lse", 1)):
        joined = [torch.cat([x[index].flatten() for x in xs]) for xs in (pairs, exact, same)]
        results.append((name, *check(*joined)))
    return results
