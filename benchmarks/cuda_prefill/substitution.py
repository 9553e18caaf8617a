"""A timing stand-in for Volta on a newer card: every m8n8k4 of a compute_70 PTX becomes two m16n8k8.

Stage: PTX text -> PTX text. m8n8k4 is emulated from sm_80 on, so its time says nothing; two m16n8k8 on the same
registers keep the tensor unit as busy as one m8n8k4 keeps Volta's (8 cycles of a sub-core) and leave every load, store
and conversion as it was. The results are garbage: only the ratio of two kernels substituted in the same way means
anything. The issue form adds two live FFMAs a product, for the four issue slots that Volta spends on it.
"""

from __future__ import annotations

import re

_MMA = re.compile(
    r"mma\.sync\.aligned\.m8n8k4\.\w+\.\w+\.f32\.f16\.f16\.f32\s*"
    r"\{([^}]*)\},\s*\{([^}]*)\},\s*\{([^}]*)\},\s*\{([^}]*)\};"
)


def _list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")]


def _replace(match: re.Match[str], issue: bool) -> str:
    d, a, b, c = (_list(group) for group in match.groups())
    if (len(d), len(a), len(b), len(c)) != (8, 2, 2, 8):
        raise ValueError(f"unexpected operands: {match.group(0)}")
    lines = []
    for half in range(2):
        ds, cs = (", ".join(x[half * 4 : half * 4 + 4]) for x in (d, c))
        lines.append(
            f"mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {{{ds}}}, {{{', '.join(a)}}}, {{{b[half]}}}, {{{cs}}};"
        )
    if issue:
        lines += ["fma.rn.f32 %issue0, %issue0, %issue0, %issue0;", "fma.rn.f32 %issue1, %issue1, %issue1, %issue1;"]
    return "\n".join(lines)


def substitute(ptx: bytes, *, issue: bool) -> tuple[bytes, int]:
    """The substituted PTX and how many products were replaced; ValueError if there was none."""
    text = ptx.decode().rstrip("\0")
    text, count = _MMA.subn(lambda match: _replace(match, issue), text)
    if count == 0 or "m8n8k4" in text:
        raise ValueError(f"{count} m8n8k4 products replaced, some or all left")
    text = re.sub(r"\.target sm_\d+", ".target sm_75", text)
    if issue:
        entry = text.index("{", text.index(".entry fa_kernel"))
        opening = (
            "\n.reg .f32 %issue0, %issue1; .reg .pred %issue2; .reg .u32 %issue3;\n"
            "mov.u32 %issue3, %clock; cvt.rn.f32.u32 %issue0, %issue3; cvt.rn.f32.u32 %issue1, %issue3;\n"
        )
        closing = (
            "fma.rn.f32 %issue0, %issue0, %issue1, %issue0; setp.eq.f32 %issue2, %issue0, 0f12345678; @%issue2 trap;\n"
        )
        body = text[entry + 1 :].replace("ret;", closing + "ret;")
        text = text[: entry + 1] + opening + body
    return text.encode() + b"\0", count
