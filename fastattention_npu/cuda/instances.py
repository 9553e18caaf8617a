"""Which kernel instance serves a problem: tile sizes per architecture and head dimension, and the source that makes it.

Stage: problem -> instance -> source text. Pure: nothing here touches a GPU, a file of the user's or a compiler.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from pathlib import Path

HEAD_DIMS = (32, 64, 96, 128, 192, 256)
MAX_HEAD_DIM = HEAD_DIMS[-1]
SHARED_LIMIT_BYTES = {70: 96 * 1024, 75: 64 * 1024}  # a block's most, CUDA C++ Programming Guide, table of features
REGISTERS_PER_SM = 65536  # both architectures


@dataclasses.dataclass(frozen=True)
class PrefillInstance:
    """One compiled prefill kernel; the fields are the template arguments of PrefillConfig in kernels/prefill.cuh."""

    arch: int  # 70 or 75: the operand layer and the compilation target
    d: int  # padded head dimension
    d_v: int  # columns of V and O that one block computes
    keys: int  # keys a tile
    warps: int
    pieces: int  # pieces in which a tile is copied
    query_in_regs: bool
    bias: bool  # softcap, ALiBi, or a scale that is not positive
    m_tiles: int = 2  # 16-row tiles a warp
    min_blocks: int = 1  # blocks a multiprocessor that the register budget must allow

    @property
    def threads(self) -> int:
        """Threads a block."""
        return self.warps * 32

    @property
    def rows(self) -> int:
        """Query rows a block."""
        return self.warps * 16 * self.m_tiles

    @property
    def v_splits(self) -> int:
        """Blocks that share a row block, each with its own columns of V."""
        return self.d // self.d_v

    @property
    def shared_bytes(self) -> int:
        """Dynamic shared memory a block: Q, K and V tiles; Q's place is shared with K and V if Q lives in registers."""
        query = self.rows * self.d * 2
        tiles = self.keys * (self.d + self.d_v) * 2
        return max(query, tiles) if self.query_in_regs else query + tiles

    @property
    def name(self) -> str:
        """For messages and test ids."""
        flags = ("-qregs" if self.query_in_regs else "") + ("-bias" if self.bias else "")
        tile = f"d{self.d}x{self.d_v}-k{self.keys}-w{self.warps}x{self.m_tiles}-p{self.pieces}"
        return f"prefill-sm{self.arch}-{tile}{flags}"

    def source(self) -> str:
        """The translation unit that instantiates this kernel."""
        arguments = [self.d, self.d_v, self.keys, self.warps, self.pieces, _cpp(self.query_in_regs), _cpp(self.bias)]
        config = f"PrefillConfig<OperandSm{self.arch}<{self.m_tiles}>, {', '.join(map(str, arguments))}>"
        return _translation_unit(self.arch, "prefill", config, self.min_blocks, "PrefillParams", "Prefill")


def _cpp(value: bool) -> str:
    return "true" if value else "false"


def _translation_unit(arch: int, header: str, config: str, min_blocks: int, params: str, body: str) -> str:
    return (
        f'#include "operand_sm{arch}.cuh"\n'
        f'#include "{header}.cuh"\n'
        f"using Config = {config};\n"
        f'extern "C" __global__ void __launch_bounds__(Config::kThreads, {min_blocks})\n'
        f"fa_kernel(const {params} params) {{ {body}<Config>(params); }}\n"
    )


@functools.cache
def headers() -> dict[str, str]:
    """Every kernel header by the name that sources include."""
    root = Path(__file__).parent / "kernels"
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(root.glob("*.cuh"))}


def padded_head_dim(d: int) -> int:
    """The smallest instantiated head dimension that holds d."""
    for candidate in HEAD_DIMS:
        if d <= candidate:
            return candidate
    raise ValueError(f"head dim {d} is more than the {MAX_HEAD_DIM} that the Volta and Turing kernels cover")


@dataclasses.dataclass(frozen=True)
class DecodeInstance:
    """One compiled decode kernel; the fields are the template arguments of DecodeConfig in kernels/decode.cuh."""

    arch: int
    d: int
    warps: int
    prefetch: bool
    bias: bool
    m_tiles: int = 1  # 16-row tiles a block

    keys = 16  # keys a chunk

    @property
    def rows(self) -> int:
        """Packed (query, head of the group) rows a block."""
        return 16 * self.m_tiles

    @property
    def threads(self) -> int:
        """Threads a block."""
        return self.warps * 32

    @property
    def shared_bytes(self) -> int:
        """Dynamic shared memory a block: Q, one chunk of K and V a warp, the warps' statistics."""
        warp = max(2 * self.keys * self.d * 2, self.rows * self.d * 4)
        return self.rows * self.d * 2 + self.warps * (warp + self.rows * 8)

    @property
    def name(self) -> str:
        """For messages and test ids."""
        flags = ("-prefetch" if self.prefetch else "") + ("-bias" if self.bias else "")
        return f"decode-sm{self.arch}-d{self.d}-r{self.rows}-w{self.warps}{flags}"

    def source(self) -> str:
        """The translation unit that instantiates this kernel."""
        arguments = f"{self.d}, {self.warps}, {_cpp(self.prefetch)}, {_cpp(self.bias)}"
        config = f"DecodeConfig<OperandSm{self.arch}<{self.m_tiles}>, {arguments}>"
        return _translation_unit(self.arch, "decode", config, 1, "DecodeParams", "Decode")


@dataclasses.dataclass(frozen=True)
class CombineInstance:
    """The kernel that merges the splits of decode."""

    arch: int
    warps: int = 4

    shared_bytes = 0

    @property
    def threads(self) -> int:
        """Threads a block."""
        return self.warps * 32

    @property
    def name(self) -> str:
        """For messages and test ids."""
        return f"combine-sm{self.arch}"

    def source(self) -> str:
        """The translation unit that instantiates this kernel."""
        return _translation_unit(self.arch, "combine", f"CombineConfig<{self.warps}>", 1, "DecodeParams", "Combine")


Instance = PrefillInstance | DecodeInstance | CombineInstance


# (arch, padded d) -> (d_v, keys, warps, pieces, query_in_regs, m_tiles), the fastest of those measured by
# benchmarks/cuda_prefill with as many blocks resident as the real card's shared memory allows (--like-card).
# Volta's d = 128 needs 80 KB, so one block of eight warps; Turing's 64 KB hold 128 rows of Q beside 64 keys, for which
# eight warps of one m tile beat four of two. d = 192 and 256 are there to be right, not fast.
_PREFILL = {
    (70, 32): (32, 64, 4, 1, True, 2),
    (70, 64): (64, 64, 4, 1, False, 2),
    (70, 96): (96, 32, 4, 1, False, 2),
    (70, 128): (128, 32, 8, 1, False, 2),
    (70, 192): (96, 32, 4, 1, False, 1),
    (70, 256): (128, 32, 4, 1, False, 1),
    (75, 32): (32, 64, 4, 1, True, 2),
    (75, 64): (64, 32, 4, 1, False, 2),
    (75, 96): (96, 64, 8, 1, False, 1),
    (75, 128): (128, 64, 8, 1, False, 1),
    (75, 192): (96, 32, 4, 1, False, 1),
    (75, 256): (128, 32, 4, 1, False, 1),
}
# where softcap or ALiBi need the registers that the wider tile takes
_PREFILL_BIAS = {(70, 64): (64, 32, 4, 1, False, 2)}
# half the rows a block, where the larger blocks would leave multiprocessors idle
_PREFILL_SMALL = {(70, 128): (128, 64, 8, 1, False, 1)}


@functools.cache
def prefill_instance(arch: int, d: int, *, bias: bool, small: bool = False) -> PrefillInstance:
    """The instance for head dimension d on sm_<arch>; small: the problem has fewer large blocks than the card wants."""
    padded = padded_head_dim(d)
    table = _PREFILL | (_PREFILL_BIAS if bias else {}) | (_PREFILL_SMALL if small else {})
    d_v, keys, warps, pieces, query_in_regs, m_tiles = table[arch, padded]
    return PrefillInstance(arch, padded, d_v, keys, warps, pieces, query_in_regs, bias, m_tiles)


def all_prefill_instances(arch: int) -> list[PrefillInstance]:
    """Every instance that prefill_instance can return for sm_<arch>."""
    flags = itertools.product(HEAD_DIMS, (False, True), (False, True))
    return list(dict.fromkeys(prefill_instance(arch, d, bias=bias, small=small) for d, bias, small in flags))


@functools.cache
def decode_instance(arch: int, d: int, rows: int, *, bias: bool) -> DecodeInstance:
    """The decode instance for head dimension d and this many packed rows.

    Beyond d = 128 two chunks of K and V no longer fit the registers, nor do 32 rows of O.
    """
    padded = padded_head_dim(d)
    if padded > 128:
        return DecodeInstance(arch, padded, 2, False, bias)
    if rows <= 16:
        return DecodeInstance(arch, padded, 4, True, bias)
    return DecodeInstance(arch, padded, 2, True, bias, m_tiles=2)


def all_instances(arch: int) -> list[Instance]:
    """Every instance that a call can ask for on sm_<arch>."""
    decode = [
        decode_instance(arch, d, rows, bias=bias) for d in HEAD_DIMS for rows in (1, 32) for bias in (False, True)
    ]
    return [*all_prefill_instances(arch), *dict.fromkeys(decode), CombineInstance(arch)]
