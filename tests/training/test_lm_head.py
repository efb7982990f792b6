"""The plain head gives what TRL's fused head gives, gradients included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from trl.trainer.utils import add_fused_lm_head

from alignbench.models.load import load_policy
from alignbench.training.lm_head import use_plain_head
from tests import tiny

FIELDS = ("log_probs", "entropy", "mean_logits", "is_top1")


def batch() -> dict[str, torch.Tensor]:
    """Two left-padded rows with right-padded answers; only the answers are scored."""
    ids = torch.tensor([[1, 5, 2, 3, 7, 0], [6, 8, 2, 4, 0, 1]])
    attention = torch.tensor([[0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0]])
    labels = ids.masked_fill(attention == 0, -100)
    labels[:, :3] = -100
    return {"input_ids": ids, "attention_mask": attention, "labels": labels}


def outputs(folder: Path, plain: bool, temperature: float) -> tuple[Any, torch.Tensor]:
    model, _ = load_policy(folder)
    add_fused_lm_head(model, temperature=temperature, outputs=FIELDS)
    if plain:
        assert use_plain_head(model, temperature)
    out = model(**batch(), fused_lm_head=True)
    out.log_probs.pow(2).sum().backward()
    return out, model.transformer.wte.weight.grad


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_same_values_and_gradients_as_the_fused_head(tmp_path: Path, temperature: float) -> None:
    folder = tiny.start_folder(tmp_path)
    ours, our_gradient = outputs(folder, True, temperature)
    theirs, their_gradient = outputs(folder, False, temperature)
    scored = batch()["labels"][:, 1:] != -100
    assert torch.allclose(our_gradient, their_gradient, atol=1e-5)
    for field in FIELDS:
        found, expected = getattr(ours, field)[scored], getattr(theirs, field)[scored]
        assert torch.allclose(found.float(), expected.float(), atol=1e-5), field
    assert not ours.log_probs[~scored].any()


def test_other_calls_are_left_alone(tmp_path: Path) -> None:
    model, _ = load_policy(tiny.start_folder(tmp_path))
    ids = batch()["input_ids"]
    before = model(input_ids=ids, labels=ids)
    add_fused_lm_head(model)
    use_plain_head(model)
    after = model(input_ids=ids, labels=ids)
    assert torch.equal(before.logits, after.logits)
    assert torch.equal(before.loss, after.loss)


def test_models_with_other_heads_keep_trls(tmp_path: Path) -> None:
    model, _ = load_policy(tiny.start_folder(tmp_path))
    model.config.model_type = "gemma2"
    assert not use_plain_head(model)
