"""The options of an attention call: one frozen record that every layer hands on unchanged.

The operator's schema, the checks, the references, the shape files and the backends all read these fields; a new option
is a new field here, a row in limits.py and what the backends make of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from .errors import ArgumentError, unknown_name


@dataclass(frozen=True)
class Options:
    """Everything that an attention call takes beside q, k and v; docs/flash_attention.md says what each one means.

    softmax_scale: None is 1 / sqrt(d). causal: window_right = 0. window_left, window_right: keys on either side of the
    diagonal that a row sees, -1 for all. softcap: 0 is none. alibi_slopes: fp32 (h_q) or (b, h_q). sinks: fp32 (h_q).
    attn_mask: bool (True: visible) or additive, broadcastable to (b, h_q, s_q, s_kv). seqused_k: int32 (b).
    cu_seqlens_q, cu_seqlens_k: int32 (b + 1), layout tnd. block_table: int32 (b, pages), k and v are then pages.
    cache_batch_idx: int32 (b), row of k and v of each sequence. max_seqlen_q, max_seqlen_k: the longest sequence;
    None: as many as there are tokens. num_splits: parts of the key range, 0 chooses. head_dim: d, for layout bsh only.
    """

    softmax_scale: float | None = None
    causal: bool = False
    window_left: int = -1
    window_right: int = -1
    softcap: float = 0.0
    alibi_slopes: Tensor | None = None
    sinks: Tensor | None = None
    attn_mask: Tensor | None = None
    seqused_k: Tensor | None = None
    cu_seqlens_q: Tensor | None = None
    cu_seqlens_k: Tensor | None = None
    block_table: Tensor | None = None
    cache_batch_idx: Tensor | None = None
    max_seqlen_q: int | None = None
    max_seqlen_k: int | None = None
    num_splits: int = 0
    layout: str = "bshd"
    head_dim: int | None = None

    @staticmethod
    def from_names(values: dict[str, Any], function: str) -> "Options":
        """Options from keyword arguments; a name that is none raises ArgumentError with the nearest one."""
        wrong = [unknown_name(name, _short(value), NAMES, "argument") for name, value in values.items()
                 if name not in NAMES]  # fmt: skip
        if wrong:
            raise ArgumentError(f"{function} cannot take these arguments", wrong)
        return Options(**values)

    @property
    def window(self) -> tuple[int, int]:
        """(left, right) with causal folded in; -1 is unlimited."""
        return self.window_left, 0 if self.causal else self.window_right

    def scale(self, d: int) -> float:
        return d**-0.5 if self.softmax_scale is None else float(self.softmax_scale)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors among the options that are given, by name."""
        return {name: value for name in NAMES if isinstance(value := getattr(self, name), Tensor)}


def _short(value: object) -> object:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)


NAMES = tuple(field.name for field in fields(Options))
_SCHEMA_TYPES = {float | None: "float?", bool: "bool", float: "float", int: "int", Tensor | None: "Tensor?",
                 int | None: "SymInt?", str: "str"}  # fmt: skip


def schema(names: Iterable[str] = NAMES) -> str:
    """These options as arguments of an operator schema, with their defaults."""
    rows = {field.name: field for field in fields(Options)}
    texts = []
    for name in names:
        default = rows[name].default
        text = repr(default) if isinstance(default, str) else str(default)
        texts.append(f"{_SCHEMA_TYPES[rows[name].type]} {name}={text}")  # type: ignore[index]
    return ", ".join(texts)
