"""Attention on the host in plain PyTorch, for CPU tensors where the native kernel (cpu/) is not built or d is too long.

fp32 arithmetic whatever the inputs are. Works through heads and rows in chunks so that S never exceeds SCORES_ELEMS,
and leaves out the keys that causality hides from a whole chunk.
"""

import torch
from torch import Tensor

SCORES_ELEMS = 1 << 23  # of one chunk of S in fp32, 32 MB: stays near the caches, costs no speed


def attention(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, *, scale: float, causal: bool, counts: list[int]
) -> None:
    """O = softmax(scale · Q Kᵀ) V into `out`, and the rows' log-sum-exp into `lse`.

    q, out: (b, s_q, h_q, d); k, v: (b, s_kv, h_kv, d); lse: (b, h_q, s_q) fp32; counts: valid keys per batch entry.
    """
    h_kv, group = k.size(2), q.size(2) // k.size(2)
    for i, n in enumerate(counts):
        q_i = q[i].transpose(0, 1).unflatten(0, (h_kv, group))  # (h_kv, group, s_q, d)
        k_i, v_i = (x[i, :n].transpose(0, 1) for x in (k, v))  # (h_kv, n, d)
        out_i = out[i].transpose(0, 1).unflatten(0, (h_kv, group))  # (h_kv, group, s_q, d)
        lse_i = lse[i].unflatten(0, (h_kv, group))  # (h_kv, group, s_q)
        heads, rows = _chunk(h_kv, q.size(1), group * max(n, 1))
        for h in range(0, h_kv, heads):
            for r in range(0, q.size(1), rows):
                part = (slice(h, h + heads), slice(None), slice(r, r + rows))
                # Row r sees the keys c <= r + offset.
                offset = n - q.size(1) if causal else None
                o_part, lse_part = _chunk_attention(q_i[part], k_i[h : h + heads], v_i[h : h + heads], scale, r, offset)
                out_i[part] = o_part.to(out.dtype)
                lse_i[part] = lse_part


def _chunk(heads: int, rows: int, scores_per_row: int) -> tuple[int, int]:
    """Heads and rows of a chunk: as many whole heads as fit, or else as many rows of one head."""
    per_head = max(rows * scores_per_row, 1)
    if per_head <= SCORES_ELEMS:
        return max(1, min(heads, SCORES_ELEMS // per_head)), max(rows, 1)
    return 1, max(1, SCORES_ELEMS // scores_per_row)


def _chunk_attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float, row0: int, offset: int | None
) -> tuple[Tensor, Tensor]:
    """O (h, group, r, d) fp32 and lse (h, group, r) of rows row0 ... against k, v (h, n, d)."""
    h, group, rows, d = q.shape
    n = k.size(1)
    if offset is not None:
        n = min(n, max(row0 + rows + offset, 0))
    if n == 0:
        return q.new_zeros(q.shape, dtype=torch.float32), q.new_full((h, group, rows), -torch.inf, dtype=torch.float32)
    q32 = q.reshape(h, group * rows, d).float()  # (h, group * r, d)
    s = torch.matmul(q32, k[:, :n].float().transpose(1, 2)).mul_(scale).view(h, group, rows, n)  # (h, group, r, n)
    if offset is not None and n - 1 > row0 + offset:
        row = torch.arange(row0, row0 + rows)[:, None]  # (r, 1)
        s.masked_fill_(torch.arange(n) > row + offset, -torch.inf)
    row_max = s.amax(-1, keepdim=True)  # (h, group, r, 1)
    row_max = torch.where(row_max == -torch.inf, 0.0, row_max)  # a row that sees nothing: exp(-inf) = 0, not NaN
    p = s.sub_(row_max).exp_()  # (h, group, r, n)
    row_sum = p.sum(-1, keepdim=True)  # (h, group, r, 1)
    o = torch.matmul(p.view(h, group * rows, n), v[:, :n].float()).view(h, group, rows, d)  # (h, group, r, d)
    o = o / torch.where(row_sum == 0, 1.0, row_sum)
    return o, (row_max + row_sum.log()).squeeze(-1)
