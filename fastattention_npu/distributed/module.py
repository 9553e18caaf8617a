"""Attention of one tensor-parallel rank as a module: its heads' projections, attention, and the row-parallel output
projection whose AllReduce overlaps with computing."""

import torch
import torch.distributed as dist
from torch import Tensor, nn


class TensorParallelAttention(nn.Module):
    """y = sum over ranks of Attn(x W_q, x W_k, x W_v) W_oᵀ + bias, with h_q / ranks heads a rank.

    Arguments:
        hidden: columns of x and y.
        heads, kv_heads: of all ranks; each must be a multiple of the number of ranks.
        head_dim: of q, k and v.
        group: the tensor-parallel process group; None: a single rank.
        bias: whether the output projection has a bias; every rank holds it, rank 0 adds it.
        causal, window, softmax_scale: as torch.ops.fastattn.attention_linear_allreduce.
    Raises:
        ValueError: heads that do not divide.
    Limits:
        forward only; those of the operator.
    Source:
        FastAttention (arXiv 2410.16663), tiling-AllReduce; docs/allreduce.md.
    """

    def __init__(
        self,
        hidden: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        group: dist.ProcessGroup | None = None,
        *,
        bias: bool = False,
        causal: bool = True,
        window: tuple[int, int] = (-1, -1),
        softmax_scale: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        ranks = 1 if group is None else dist.get_world_size(group)
        for name, count in (("heads", heads), ("kv_heads", kv_heads)):
            if count % ranks != 0:
                raise ValueError(f"{name} = {count}: must be a multiple of the group's {ranks} ranks")
        self.group_name = "" if group is None else group.group_name
        self.heads, self.kv_heads, self.head_dim = heads // ranks, kv_heads // ranks, head_dim
        self.causal, self.window, self.softmax_scale = causal, window, softmax_scale
        width, kv_width = self.heads * head_dim, self.kv_heads * head_dim
        self.qkv = nn.Linear(hidden, width + 2 * kv_width, bias=False, device=device, dtype=dtype)
        self.w_o = nn.Parameter(torch.empty(hidden, width, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(hidden, device=device, dtype=dtype)) if bias else None
        nn.init.normal_(self.w_o, std=(width * ranks) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """x (b, s, hidden), the same on every rank -> y (b, s, hidden), the same on every rank."""
        widths = [self.heads * self.head_dim, *[self.kv_heads * self.head_dim] * 2]
        q, k, v = (
            part.unflatten(-1, (-1, self.head_dim)).contiguous() for part in self.qkv(x).split(widths, dim=-1)
        )  # (b, s, heads, head_dim) each
        return torch.ops.fastattn.attention_linear_allreduce(
            q,
            k,
            v,
            self.w_o,
            self.bias,
            self.group_name,
            softmax_scale=self.softmax_scale,
            causal=self.causal,
            window_left=self.window[0],
            window_right=self.window[1],
        )
