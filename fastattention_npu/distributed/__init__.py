"""Tensor-parallel attention: attention, output projection and AllReduce as one pipeline over token blocks.

docs/allreduce.md has the definitions. operator.py is torch.ops.fastattn.attention_linear_allreduce, pipeline.py runs it
over torch.distributed, simulated.py runs the Ascend C kernel on simulated NPUs.
"""

from . import operator
from .faults import RankFailedError
from .module import TensorParallelAttention
from .simulated import RankInputs, SimulatedRanks, simulate_ranks

__all__ = ["RankFailedError", "RankInputs", "SimulatedRanks", "TensorParallelAttention", "operator", "simulate_ranks"]
