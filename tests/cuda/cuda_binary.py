"""Reads a cubin without NVIDIA's tools: registers, stack, and counts of the instructions that matter.

Stage: checking. Volta and Turing instructions have 16 bytes; the low 12 bits are the opcode. The opcodes were read off
nvdisasm 12.8's output for these very kernels (the copy in the triton 3.3.1 wheel).
"""

from __future__ import annotations

import collections
import dataclasses
import struct

OPCODES = {0x236: "HMMA.884", 0x23C: "HMMA.1688", 0x983: "LDL", 0x387: "STL", 0x83B: "LDSM", 0x984: "LDS"}
FRAME_SIZE = 0x11  # EIATTR_FRAME_SIZE in .nv.info: bytes of local memory a thread


@dataclasses.dataclass(frozen=True)
class Binary:
    """One kernel's resources."""

    registers: int
    stack_bytes: int
    counts: dict[str, int]


def _sections(elf: bytes) -> dict[str, tuple[bytes, int]]:
    """name -> (content, sh_info)"""
    offset = struct.unpack_from("<Q", elf, 40)[0]
    size, count, names = struct.unpack_from("<HHH", elf, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", elf, offset + i * size) for i in range(count)]
    base = headers[names][4]
    sections = {}
    for header in headers:
        name = elf[base + header[0] : elf.index(b"\0", base + header[0])].decode()
        sections[name] = (elf[header[4] : header[4] + header[5]], header[7])
    return sections


def _stack(info: bytes) -> int:
    offset, largest = 0, 0
    while offset + 4 <= len(info):
        form, attribute, size = struct.unpack_from("<BBH", info, offset)
        if form == 4 and attribute == FRAME_SIZE:
            largest = max(largest, struct.unpack_from("<II", info, offset + 4)[1])
        offset += 4 + (size if form == 4 else 0)
    return largest


def read(cubin: bytes, kernel: str = "fa_kernel") -> Binary:
    """The resources of one kernel of a cubin."""
    sections = _sections(cubin)
    code, info = sections[f".text.{kernel}"]
    found = collections.Counter(struct.unpack_from("<Q", code, at)[0] & 0xFFF for at in range(0, len(code), 16))
    counts = {name: found.get(opcode, 0) for opcode, name in OPCODES.items()}
    return Binary(info >> 24, _stack(sections[".nv.info"][0]), counts)
