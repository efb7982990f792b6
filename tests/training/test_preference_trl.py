"""The losses that are ours against those of TRL's own trainers, from the same texts."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset

from alignbench.methods.base import Pair
from alignbench.methods.kto import KTO
from alignbench.methods.orpo import ORPO
from alignbench.methods.preference import PreferenceMethod
from alignbench.methods.simpo import SimPO
from alignbench.models.load import load_policy
from alignbench.training.common import trainer_arguments
from alignbench.training.preference import PreferenceTrainer
from tests import tiny

N = 6
PAIRS = [
    Pair("w1", "good w3", "w4"),
    Pair("w2 w3", "w5 good w6", "w7 w8"),
    Pair("w4 w5 w6", "good", "w9 w10 w11"),
    Pair("w7", "w2 good", "w3 w1"),
    Pair("w8 w9", "w12 w13 good", "w14 w2 w3"),
    Pair("w10", "good good w1", "w1"),
]


def ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: PreferenceMethod
) -> tuple[PreferenceTrainer, Any, float]:
    """Our trainer after some training, a copy of its model without patches, the loss on `PAIRS`."""
    made: list[PreferenceTrainer] = []
    plain = PreferenceTrainer.__init__

    def init(self: PreferenceTrainer, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(PreferenceTrainer, "__init__", init)
    trained, _, _ = tiny.train(tmp_path, method, pairs=PAIRS)
    trainer = made[0]
    rows = [trainer.train_dataset[i] for i in range(N)]
    loss = trainer._compute_loss(trainer.model, trainer.data_collator(rows), False)
    fresh, _ = load_policy(trained.folder)
    fresh.load_state_dict(copy.deepcopy(trained.model.state_dict()))
    return trainer, fresh, loss.item()


def texts() -> list[dict[str, str]]:
    return [{"prompt": f"{p.prompt} > ", "chosen": p.chosen, "rejected": p.rejected} for p in PAIRS]


def arguments(tmp_path: Path) -> dict[str, Any]:
    return {**trainer_arguments(tmp_path, "fp32", 0), "per_device_train_batch_size": 2 * N}


def test_kto_agrees_with_trl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trl import KTOConfig, KTOTrainer

    method = KTO(learning_rate=2e-2, epochs=6, batch_size=N, beta=0.3, undesirable_weight=1.5)
    trainer, model, loss = ours(tmp_path, monkeypatch, method)
    sides = [("chosen", True), ("rejected", False)]
    rows = [
        {"prompt": row["prompt"], "completion": row[side], "label": label}
        for side, label in sides
        for row in texts()
    ]
    theirs = KTOTrainer(
        model=model,
        ref_model=load_policy(tmp_path / "start" / "model")[0],
        args=KTOConfig(
            **arguments(tmp_path), beta=0.3, undesirable_weight=1.5, max_length=None
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tiny.tokenizer(),
    )  # fmt: skip
    batch = theirs.data_collator([theirs.train_dataset[i] for i in range(2 * N)])
    expected = theirs._compute_loss(theirs.model.train(), batch, False).item()
    kl = theirs._metrics["train"]["kl"][-1]
    assert kl > 0.01, "the reference point must matter"
    assert trainer._metrics["train"]["kl"][-1] == pytest.approx(kl, abs=1e-5)
    assert loss == pytest.approx(expected, abs=1e-6)
    assert abs(loss - 1.25 / 2) > 0.05, "the start model's loss proves little"


def experimental(name: str) -> Any:
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    return pytest.importorskip(f"trl.experimental.{name}")


def test_orpo_agrees_with_trl_but_for_the_tokens_of_its_nll(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = experimental("orpo")
    method = ORPO(learning_rate=2e-2, epochs=6, batch_size=N, beta=0.7)
    trainer, model, loss = ours(tmp_path, monkeypatch, method)
    theirs = module.ORPOTrainer(
        model=model,
        args=module.ORPOConfig(**arguments(tmp_path), beta=0.7, max_length=64),
        train_dataset=Dataset.from_list(texts()),
        processing_class=tiny.tokenizer(),
    )
    batch = theirs.data_collator([theirs.train_dataset[i] for i in range(N)])
    with torch.no_grad():
        full, figures = theirs.get_batch_loss_metrics(theirs.model, batch)
    odds_term = loss - trainer._metrics["train"]["nll_loss"][-1]
    assert odds_term > 0.01
    assert odds_term == pytest.approx(full.item() - figures["nll_loss"], abs=1e-6)
    for name in ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"):
        assert trainer._metrics["train"][name][-1] == pytest.approx(figures[name], abs=1e-6), name


def test_simpo_agrees_with_trl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = experimental("cpo")
    method = SimPO(learning_rate=1e-2, epochs=2, batch_size=N, beta=1.5, gamma=0.6)
    trainer, model, loss = ours(tmp_path, monkeypatch, method)
    theirs = module.CPOTrainer(
        model=model,
        args=module.CPOConfig(
            **arguments(tmp_path), loss_type="simpo", cpo_alpha=0.0, beta=1.5, simpo_gamma=0.6,
            max_length=64,
        ),
        train_dataset=Dataset.from_list(texts()),
        processing_class=tiny.tokenizer(),
    )  # fmt: skip
    batch = theirs.data_collator([theirs.train_dataset[i] for i in range(N)])
    with torch.no_grad():
        expected, figures = theirs.get_batch_loss_metrics(theirs.model, batch)
    assert loss == pytest.approx(expected.item(), abs=1e-6)
    for name in ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"):
        assert trainer._metrics["train"][name][-1] == pytest.approx(figures[name], abs=1e-6), name
