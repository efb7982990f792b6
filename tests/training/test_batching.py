"""Groups of rows give what the whole batch gives, gradients included."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from alignbench.models.load import load_policy
from alignbench.models.logprobs import padded_logprobs
from alignbench.training import batching
from tests import tiny


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Five rows: prompts of 1 to 4 tokens padded left to 4, answers of 1 to 6 padded right to 6."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 19, (5, 10), generator=generator)
    attention = torch.zeros(5, 10, dtype=torch.long)
    for row, (prompt, answer) in enumerate([(4, 2), (1, 6), (2, 1), (3, 3), (2, 2)]):
        attention[row, 4 - prompt : 4 + answer] = 1
    return ids, attention


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_same_values_and_gradients_as_one_pass(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "CPU_ROWS", rows)
    model, _ = load_policy(tiny.start_folder(tmp_path))
    ids, attention = batch()
    mask = attention[:, 4:]

    def forward(*args: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return padded_logprobs(model, *args)

    results = []
    for logprobs, entropies in (
        batching.by_length(forward, ids, attention, 6),
        forward(ids, attention, 6),
    ):
        (gradient,) = torch.autograd.grad(
            (logprobs * mask).pow(2).sum(), model.transformer.wte.weight
        )
        results.append(((logprobs * mask).detach(), entropies * mask, gradient))
    for ours, whole in zip(*results, strict=True):
        assert torch.allclose(ours, whole, atol=1e-5)
    assert results[0][2].abs().max() > 0.1


def test_each_group_sees_only_the_columns_it_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "CPU_ROWS", 2)
    ids, attention = batch()
    shapes = []

    def forward(ids: torch.Tensor, attention: torch.Tensor, keep: int) -> tuple[torch.Tensor, ...]:
        shapes.append((tuple(ids.shape), keep))
        return (torch.ones(len(ids), keep),)

    (ones,) = batching.by_length(forward, ids, attention, 6)
    # Lengths 6, 7, 3, 6, 4: groups (3, 4), (6, 6), (7); their columns 2+2, 4+3, 1+6.
    assert shapes == [((2, 4), 2), ((2, 7), 3), ((1, 7), 6)]
    assert ones.sum(dim=1).tolist() == [3, 6, 2, 3, 2]
