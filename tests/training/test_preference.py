"""DPO's loss against the formula, its reference, and its batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from alignbench.errors import UserError
from alignbench.methods.base import Pair
from alignbench.methods.dpo import DPO
from alignbench.models.load import load_policy, weights_digest
from alignbench.models.logprobs import token_logprobs
from alignbench.training.preference import PreferenceTrainer, tokenize_pairs
from tests import tiny

OPTIONS = DPO(learning_rate=1e-3, batch_size=8, beta=0.3)


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PreferenceTrainer:
    """The trainer of a finished run."""
    made: list[PreferenceTrainer] = []
    plain = PreferenceTrainer.__init__

    def init(self: PreferenceTrainer, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(PreferenceTrainer, "__init__", init)
    tiny.train(tmp_path, OPTIONS)
    return made[0]


def test_tokenized_pairs_end_in_eos_and_share_no_border() -> None:
    rows = tokenize_pairs(tiny.tokenizer(), [Pair("w1 w2", "good w3", "w4")], 8)
    # Specials are 0 <eos>, 1 <pad>, 2 ">"; words from 3 ("good") on.
    assert rows[0] == {
        "prompt_ids": [5, 6, 2],
        "chosen_ids": [3, 7, 0],
        "rejected_ids": [8, 0],
        "length": 6,
    }


def test_loss_is_the_dpo_formula(tmp_path: Path, trainer: PreferenceTrainer) -> None:
    """-log sigmoid(beta * (log-ratio of chosen - log-ratio of rejected)), mean over pairs."""
    rows = list(trainer.train_dataset.select(range(6)))
    reference, _ = load_policy(tiny.start_folder(tmp_path))

    def log_ratio(side: str) -> torch.Tensor:
        ids = [r["prompt_ids"] for r in rows], [r[side] for r in rows]
        policy = token_logprobs(trainer.model.eval(), *ids, 6)
        frozen = token_logprobs(reference, *ids, 6)
        return torch.stack([p.sum() - q.sum() for p, q in zip(policy, frozen, strict=True)])

    margins = log_ratio("chosen_ids") - log_ratio("rejected_ids")
    expected = -torch.nn.functional.logsigmoid(0.3 * margins).mean()
    assert margins.abs().max() > 0.5  # a trained policy: not the log 2 of the start
    loss = trainer._compute_loss(trainer.model, trainer.data_collator(rows), False)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_reference_is_the_start_model(tmp_path: Path) -> None:
    trained, offered, meter = tiny.train(tmp_path, OPTIONS)
    assert offered.facts["reference_digest"] == trained.digest
    assert weights_digest(trained.model) != trained.digest
    assert meter.bill()["optimizer_steps"] == 256 // 8
    assert meter.bill()["human_labels"] == 256


def test_other_reference_is_refused(tmp_path: Path) -> None:
    def other() -> Any:
        model = load_policy(tiny.start_folder(tmp_path))[0]
        with torch.no_grad():
            model.transformer.wpe.weight.add_(0.1)
        return model

    with pytest.raises(RuntimeError, match="not the start model"):
        tiny.train(tmp_path, OPTIONS, reference=other)


def test_accumulation_does_not_change_the_update(tmp_path: Path) -> None:
    weights = []
    for batch, pieces in ((8, 1), (4, 2)):
        options = OPTIONS.model_copy(
            update={"batch_size": batch, "gradient_accumulation": pieces, "warmup_fraction": 0.0}
        )
        trained, _, _ = tiny.train(tmp_path, options, pairs=tiny.pairs(n=8))
        weights.append(trained.model.transformer.wte.weight.detach().clone())
    assert torch.allclose(*weights, atol=1e-5)


def test_same_seed_same_weights(tmp_path: Path) -> None:
    digests = [weights_digest(tiny.train(tmp_path, OPTIONS, seed)[0].model) for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def test_no_pairs_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no preference pairs"):
        tiny.train(tmp_path, OPTIONS, pairs=[])
