from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from alignbench.models.load import load_policy
from alignbench.models.logprobs import padded_logprobs, sequence_kl, token_logprobs
from tests import tiny

PROMPTS = [[5, 2], [6, 7, 8, 2], [9, 2]]
COMPLETIONS = [[3, 4, 5, 0], [6], [7, 8, 9, 10, 11, 0]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    model, _ = load_policy(tiny.start_folder(tmp_path_factory.mktemp("logprobs")))
    with torch.no_grad():
        model.transformer.wte.weight.mul_(10)  # distributions far from uniform
    return model


class FixedModel:
    """Next-token distribution that depends on the position alone: `table[t]` after t + 1 tokens."""

    device = torch.device("cpu")

    def __init__(self, table: list[list[float]]) -> None:
        self.logits = torch.tensor(table).log() + 5.0  # an offset that softmax must not see

    def __call__(
        self, input_ids: Any, attention_mask: Any, use_cache: bool, logits_to_keep: int
    ) -> Any:
        width = input_ids.shape[1]
        rows = self.logits[:width].expand(len(input_ids), -1, -1)
        return SimpleNamespace(logits=rows[:, width - logits_to_keep :])


def direct(model: Any, prompt: list[int], completion: list[int]) -> list[float]:
    with torch.no_grad():
        logprobs = model(torch.tensor([prompt + completion])).logits[0].log_softmax(-1)
    return [float(logprobs[len(prompt) + t - 1, v]) for t, v in enumerate(completion)]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_token_logprobs_are_those_of_each_row_alone(model: Any, batch_size: int) -> None:
    found = token_logprobs(model, PROMPTS, COMPLETIONS, batch_size)
    for prompt, completion, logprobs in zip(PROMPTS, COMPLETIONS, found, strict=True):
        assert logprobs.tolist() == pytest.approx(direct(model, prompt, completion), abs=1e-5)


def test_token_logprobs_of_a_known_distribution() -> None:
    fixed = FixedModel([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.25, 0.75]])
    [found] = token_logprobs(fixed, [[0, 0]], [[1, 0, 1]], 1)  # type: ignore[arg-type]
    assert found.exp().tolist() == pytest.approx([0.5, 0.2, 0.75])


def test_an_empty_completion_has_no_logprobs_and_no_kl(model: Any) -> None:
    assert token_logprobs(model, [[5, 2]], [[]], 1)[0].shape == (0,)
    assert sequence_kl(model, model, [[5, 2]], [[]], 1) == [0.0]


def test_kl_sums_over_response_tokens_the_kl_of_full_distributions() -> None:
    # After one token: p = (1/2, 1/2), q = (1/4, 3/4); after two: p = (1, 0), q = (1/4, 3/4);
    # the prompt's own positions and what follows the last token do not count.
    p = FixedModel([[0.5, 0.5], [1.0, 1e-30], [0.9, 0.1]])
    q = FixedModel([[0.25, 0.75], [0.25, 0.75], [0.1, 0.9]])
    first = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    second = math.log(1 / 0.25)
    pair: Any = (p, q)
    assert sequence_kl(*pair, [[0]], [[1]], 1) == pytest.approx([first])
    assert sequence_kl(*pair, [[0]], [[1, 0]], 1) == pytest.approx([first + second])
    assert sequence_kl(*pair, [[0, 1]], [[0]], 1) == pytest.approx([second])
    assert sequence_kl(q, p, [[0]], [[1]], 1) == pytest.approx(  # type: ignore[arg-type]
        [0.25 * math.log(0.5) + 0.75 * math.log(1.5)]
    )


def test_kl_does_not_depend_on_batches_and_is_zero_for_the_same_model(
    model: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tiny.start_folder(tmp_path_factory.mktemp("other"))
    other, _ = load_policy(folder)
    alone = sequence_kl(model, other, PROMPTS, COMPLETIONS, 1)
    assert min(alone) > 1e-3
    assert sequence_kl(model, other, PROMPTS, COMPLETIONS, 3) == pytest.approx(alone, rel=1e-4)
    assert sequence_kl(model, model, PROMPTS, COMPLETIONS, 2) == [0.0, 0.0, 0.0]


def test_padded_logprobs_agree_with_rows_alone(model: Any) -> None:
    # Prompt padded to the left, response to the right.
    ids = torch.tensor([[1, 1, 5, 2, 3, 4, 0], [6, 7, 8, 2, 6, 1, 1]])
    mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0, 0]])
    with torch.no_grad():
        found, _ = padded_logprobs(model, ids, mask, 3)
    assert found[0].tolist() == pytest.approx(direct(model, [5, 2], [3, 4, 0]), abs=1e-5)
    assert found[1, 0].item() == pytest.approx(direct(model, [6, 7, 8, 2], [6])[0], abs=1e-5)
