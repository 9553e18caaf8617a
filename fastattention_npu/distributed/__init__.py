"""Tensor-parallel attention: attention, output projection and AllReduce as one pipeline over token blocks.

docs/allreduce.md has the definitions; simulated.py runs the Ascend C kernel on simulated NPUs.
"""

from .simulated import RankInputs, SimulatedRanks, simulate_ranks

__all__ = ["RankInputs", "SimulatedRanks", "simulate_ranks"]
