"""The cooperative cache and decoder: the same tokens wherever the heads live, and clean failures."""

from __future__ import annotations

import argparse

import pytest
import torch

from fastattention_npu.cooperative import (
    CONFIGS,
    Accelerator,
    CacheError,
    CacheShape,
    CooperativeKVCache,
    Decoder,
    HostWorker,
    OffloadPlan,
    bench_cooperative,
    cooperative_attention,
)
from fastattention_npu.cooperative import bench as bench_module

TINY = CONFIGS["tiny"]
SPLITS = {
    "none": (0, 0, 0, 0),
    "layers": (0, 2, 0, 2),
    "heads": (1, 1, 1, 1),
    "mixed": (2, 0, 1, 2),
    "all": (2, 2, 2, 2),
}


def cache_for(
    split: tuple[int, ...],
    accelerator: Accelerator,
    batch: int = 2,
    tokens: int = 64,
    dtype: torch.dtype = torch.float32,
) -> CooperativeKVCache:
    plan = OffloadPlan(TINY.cache_shape(batch, tokens, dtype.itemsize), split)
    return CooperativeKVCache(plan, accelerator, dtype)


def tokens_of(
    decoder: Decoder, split: tuple[int, ...], worker: HostWorker, strategy: str, chunk: int = 16
) -> torch.Tensor:
    prompt = torch.arange(2 * 37).reshape(2, 37) * 31 % TINY.vocab
    with cache_for(split, decoder.accelerator) as cache:
        first = decoder.prefill(prompt, cache, chunk).argmax(-1)
        return decoder.generate(first, 20, cache, worker, strategy).cpu()


@pytest.mark.parametrize("strategy", ["cooperative", "classical"])
@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS.keys())
def test_same_tokens(split: tuple[int, ...], strategy: str, accelerator: Accelerator, worker: HostWorker) -> None:
    decoder = Decoder(TINY, accelerator, torch.float32)
    resident = tokens_of(decoder, SPLITS["none"], worker, "cooperative")
    assert torch.equal(tokens_of(decoder, split, worker, strategy, chunk=7), resident)


def test_strategies_may_alternate(accelerator: Accelerator, worker: HostWorker) -> None:
    decoder = Decoder(TINY, accelerator, torch.float32)
    expected = tokens_of(decoder, SPLITS["none"], worker, "cooperative")
    prompt = torch.arange(2 * 37).reshape(2, 37) * 31 % TINY.vocab
    with cache_for(SPLITS["mixed"], accelerator) as cache:
        chosen = [decoder.prefill(prompt, cache).argmax(-1)]
        for step in range(19):
            strategy = ("classical", "classical", "cooperative")[step % 3]
            chosen.append(decoder.decode_step([(chosen[-1], cache)], worker, strategy)[0].argmax(-1))
            cache.settle()
    assert torch.equal(torch.stack(chosen, 1).cpu(), expected)


def test_groups_equal_single_runs(accelerator: Accelerator, worker: HostWorker) -> None:
    decoder = Decoder(TINY, accelerator, torch.float32)
    prompts = [torch.randint(0, TINY.vocab, (2, n)) for n in (11, 30, 5)]
    singles, caches, firsts = [], [], []
    for prompt in prompts:
        with cache_for(SPLITS["mixed"], accelerator) as cache:
            first = decoder.prefill(prompt, cache).argmax(-1)
            singles.append(decoder.generate(first, 5, cache, worker, "cooperative"))
        caches.append(cache_for(SPLITS["mixed"], accelerator))
        firsts.append(decoder.prefill(prompt, caches[-1]).argmax(-1))
    rows = [firsts]
    for _ in range(4):
        logits = decoder.decode_step(list(zip(rows[-1], caches, strict=True)), worker)
        rows.append([x.argmax(-1) for x in logits])
    for i, single in enumerate(singles):
        assert torch.equal(torch.stack([row[i] for row in rows], 1), single)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_attention_against_float64(dtype: torch.dtype, accelerator: Accelerator, worker: HostWorker) -> None:
    shape = CacheShape(layers=1, heads=4, kv_heads=2, head_dim=16, batch=2, tokens=64, element_bytes=2)
    q = torch.randn(20, 2, 1, 4, 16, device=accelerator.device).to(dtype)
    k, v = (torch.randn(20, 2, 1, 2, 16, device=accelerator.device).to(dtype) for _ in range(2))
    with CooperativeKVCache(OffloadPlan(shape, (1,)), accelerator, dtype) as cache:
        for step in range(20):
            o = cooperative_attention(q[step], k[step], v[step], cache, 0, worker).result()
            cache.commit(1)
            keys, values = (x[: step + 1, :, 0].double().repeat_interleave(2, 2) for x in (k, v))
            p = torch.softmax(torch.einsum("bhd,nbhd->bhn", q[step, :, 0].double(), keys) / 4.0, -1)
            truth = torch.einsum("bhn,nbhd->bhd", p, values)
            assert float((o[:, 0].double() - truth).abs().max()) < (2e-3 if dtype == torch.float16 else 2e-2)


def test_bus_carries_no_cache_in_cooperative_decode(stand_in: Accelerator, worker: HostWorker) -> None:
    decoder = Decoder(TINY, stand_in, torch.float32)
    moved = {}
    for strategy in ("cooperative", "classical"):
        with cache_for(SPLITS["layers"], stand_in) as cache:
            decoder.prefill(torch.zeros(2, 37, dtype=torch.long), cache)
            decoder.decode_step([(torch.zeros(2, dtype=torch.long), cache)], worker, strategy)
            cache.bus_bytes = 0
            decoder.decode_step([(torch.zeros(2, dtype=torch.long), cache)], worker, strategy)
            moved[strategy] = cache.bus_bytes
    shape = TINY.cache_shape(2, 64, 4)
    assert moved["cooperative"] == 4 * shape.exchange_bytes  # two layers of two heads
    assert moved["classical"] > 37 * 4 * shape.unit_bytes // 64


def test_a_failed_step_leaves_no_trace(
    accelerator: Accelerator, worker: HostWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = Decoder(TINY, accelerator, torch.float32)
    token = torch.tensor([1, 2])
    with cache_for(SPLITS["layers"], accelerator) as cache:
        decoder.prefill(torch.randint(0, TINY.vocab, (2, 9)), cache)
        expected = decoder.decode_step([(token, cache)], worker)[0]
        cache.length -= 1
        with monkeypatch.context() as patch:

            def broken(*_: object, **__: object) -> None:
                raise RuntimeError("planted device error")

            patch.setattr("fastattention_npu.cpu.PreparedDecode.__call__", broken)
            with pytest.raises(RuntimeError, match="planted"):
                decoder.decode_step([(token, cache)], worker)
        assert cache.length == 9
        assert torch.equal(decoder.decode_step([(token, cache)], worker)[0], expected)


def test_full_and_closed_caches_say_so(accelerator: Accelerator, worker: HostWorker) -> None:
    decoder = Decoder(TINY, accelerator, torch.float32)
    cache = cache_for(SPLITS["mixed"], accelerator, tokens=8)
    with pytest.raises(CacheError, match="cache is full: 0 of 8 tokens in use, 9 more wanted"):
        decoder.prefill(torch.zeros(2, 9, dtype=torch.long), cache)
    cache.close()
    with pytest.raises(CacheError, match="closed"):
        decoder.decode_step([(torch.zeros(2, dtype=torch.long), cache)], worker)


def test_out_of_host_memory_is_clear_and_releases(stand_in: Accelerator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastattention_npu.cooperative.cache.host_free_bytes", lambda: 1000)
    with pytest.raises(CacheError, match=r"does not fit: .* bytes on the host \(1000 free\)"):
        cache_for(SPLITS["layers"], stand_in)


def test_failure_half_way_through_allocation(stand_in: Accelerator, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.Tensor] = []

    def scarce(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        if len(made) == 5:
            raise torch.OutOfMemoryError("planted")
        made.append(torch.empty(shape, dtype=dtype))
        return made[-1]

    monkeypatch.setattr(stand_in, "host_tensor", scarce)
    with pytest.raises(CacheError, match="planted"):
        cache_for(SPLITS["layers"], stand_in)


@pytest.mark.parametrize("prefill", [False, True])
def test_bench_runs(prefill: bool, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    bench_module.add_arguments(parser)
    words = (
        "--device cpu --model tiny --cards 1 --dtype float32 --lengths 64 --offload 0.4 --steps 2 --sample-bytes 1MiB"
    )
    assert bench_cooperative(parser.parse_args(words.split() + (["--prefill"] if prefill else []))) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("resident", "cooperative", "classical", "predicted", "MB/step"))
    assert not prefill or out.count("same tokens: True") == 2


def test_parse_sizes() -> None:
    assert bench_module.parse_bytes("16GiB") == 16 << 30
    assert bench_module.parse_bytes("5") == 5
    assert bench_module.parse_tokens("256K") == 262144
    assert bench_module.parse_tokens("100") == 100
