"""The demo's own code path on two sentences: a real encoder, padding, every attention layer on the simulated 910B2."""

import pytest
import torch

from fastattention_npu.demo import minilm_similarity, transformers_attention

SENTENCES = ["Rain tonight.", "Forecasters say that the towns along the coast should prepare for a wet night."]


def test_similarity_on_the_simulated_npu_matches_pytorch() -> None:
    result = minilm_similarity.compare(SENTENCES, backend="sim", soc="ascend910b2")
    assert result.attention_layers == result.model_layers == 6
    assert result.max_difference < minilm_similarity.LIMIT
    assert result.passes()


def test_canary_ignored_padding_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo that let the padding in would differ from PyTorch by far more than its limit."""
    monkeypatch.setattr(transformers_attention, "key_counts", lambda *_args, **_kwargs: None)
    result = minilm_similarity.compare(SENTENCES, backend="cpu")
    assert result.max_difference > 10 * minilm_similarity.LIMIT
    assert not result.passes()


def test_canary_nan_is_not_ok() -> None:
    table = torch.full((2, 2), float("nan"))
    assert not minilm_similarity.Comparison(table, torch.eye(2), attention_layers=6, model_layers=6).passes()


@pytest.mark.parametrize("mask", [[[0, 1, 1], [1, 1, 1]], [[1, 0, 1], [1, 1, 1]]], ids=["left", "hole"])
def test_other_masks_than_right_padding_are_refused(mask: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="right padding"):
        transformers_attention.key_counts(2, 3, 3, torch.tensor(mask))


def test_unreadable_sentences_are_one_line(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    assert minilm_similarity.main(["--sentences", str(tmp_path / "none.txt")]) == 2
    assert "cannot read sentences" in capsys.readouterr().err
