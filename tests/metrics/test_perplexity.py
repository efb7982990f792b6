from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from transformers import GPT2LMHeadModel

from alignbench.metrics.perplexity import corpus_nll, perplexity
from tests import tiny

TEXTS = ["good w1 w2", "w3", "w4 w5 w6 w7 w8 good good", "", "w9 w1"]


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    made = GPT2LMHeadModel(tiny.config()).eval()
    with torch.no_grad():
        made.transformer.wpe.weight.mul_(10)  # positions must matter
    return made


def alone(model: Any, ids: list[int]) -> float:
    """Nll of ids[1:] given what precedes, one text at a time, without any padding."""
    with torch.no_grad():
        logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return -sum(float(logprobs[t, token]) for t, token in enumerate(ids[1:]))


def test_uniform_model_has_the_vocabulary_as_perplexity() -> None:
    uniform = GPT2LMHeadModel(tiny.config())
    with torch.no_grad():
        for weight in uniform.parameters():
            weight.zero_()
    pairs = corpus_nll(uniform.eval(), tiny.tokenizer(), ["w1 w2 w3"], 4)
    assert pairs[0] == (pytest.approx(3 * math.log(19), abs=1e-5), 3)
    assert perplexity(pairs) == pytest.approx(19, rel=1e-6)


def test_every_token_is_scored_after_eos_as_context(model: Any) -> None:
    tokenizer = tiny.tokenizer()
    pairs = corpus_nll(model, tokenizer, TEXTS, 8)
    for text, (nll, tokens) in zip(TEXTS, pairs, strict=True):
        ids = tokenizer(text)["input_ids"]
        assert tokens == len(ids)
        assert nll == pytest.approx(alone(model, [tokenizer.eos_token_id, *ids]), abs=1e-4)
    assert pairs[3] == (0.0, 0)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("side", ["left", "right"])
def test_batch_size_and_padding_side_do_not_matter(model: Any, batch_size: int, side: str) -> None:
    tokenizer = tiny.tokenizer()
    reference = corpus_nll(model, tokenizer, TEXTS, 3)
    tokenizer.padding_side = side
    pairs = corpus_nll(model, tokenizer, TEXTS, batch_size)
    assert [n for n, _ in pairs] == pytest.approx([n for n, _ in reference], abs=1e-4)


def test_long_text_is_scored_in_windows(model: Any) -> None:
    tokenizer = tiny.tokenizer()
    ids = [3 + i % 16 for i in range(70)]  # the model has 32 positions
    text = tokenizer.decode(ids)
    [(nll, tokens)] = corpus_nll(model, tokenizer, [text], 8)
    windows = [[0, *ids[start : start + 31]] for start in (0, 31, 62)]
    assert tokens == 70
    assert nll == pytest.approx(sum(alone(model, window) for window in windows), abs=1e-3)


def test_without_context_token_the_first_token_is_not_scored(model: Any) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.eos_token = None
    ids = tokenizer("good w1 w2")["input_ids"]
    [(nll, tokens)] = corpus_nll(model, tokenizer, ["good w1 w2"], 8)
    assert (nll, tokens) == (pytest.approx(alone(model, ids), abs=1e-4), 2)


def test_perplexity_weighs_tokens_not_documents() -> None:
    # Documents of perplexity 2 (one token) and 8 (three tokens): 2^((1 + 9) / 4).
    pairs = [(math.log(2), 1), (3 * math.log(8), 3)]
    assert perplexity(pairs) == pytest.approx(2**2.5)
    assert math.isnan(perplexity([]))
    assert math.isnan(perplexity([(0.0, 0)]))
