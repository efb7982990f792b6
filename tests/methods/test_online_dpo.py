"""Online DPO: the pair, the loss by hand, and learning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from alignbench.metering.budget import Budget
from alignbench.methods.online_dpo import OnlineDPO
from alignbench.methods.registry import resolve
from alignbench.models.load import load_policy, weights_digest
from alignbench.training.online_dpo import OnlineDPOTrainer, best_and_worst, dpo_loss
from tests import tiny

COMMON: dict[str, Any] = {"learning_rate": 1e-3, "rollouts": 2, "prompts_per_rollout": 4}


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[OnlineDPOTrainer]:
    """The trainers that are built while the test runs."""
    made: list[OnlineDPOTrainer] = []
    plain = OnlineDPOTrainer.__init__

    def init(self: OnlineDPOTrainer, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(OnlineDPOTrainer, "__init__", init)
    return made


def test_best_and_worst_of_each_prompt() -> None:
    best, worst, differ = best_and_worst(torch.tensor([1.0, 3.0, 2.0, 0.0, 5.0, -1.0]), 3)
    assert (best.tolist(), worst.tolist(), differ.tolist()) == ([1, 4], [0, 5], [1.0, 1.0])
    best, worst, differ = best_and_worst(torch.tensor([2.0, 2.0, 1.0, 2.0]), 2)
    assert (best.tolist(), worst.tolist(), differ.tolist()) == ([0, 3], [0, 2], [0.0, 1.0])


def test_loss_by_hand() -> None:
    # Log-ratios: chosen -1 - (-3) = 2, rejected -4 - (-2) = -2; margin 0.5 * 4 = 2.
    # The second pair: 0 and 0, loss log 2, if its scores differ.
    values = [torch.tensor(x) for x in ([-1.0, -5.0], [-4.0, -6.0], [-3.0, -5.0], [-2.0, -6.0])]
    loss, margins = dpo_loss(*values, torch.tensor([1.0, 1.0]), 0.5)
    assert margins.tolist() == pytest.approx([2.0, 0.0])
    assert loss.item() == pytest.approx((math.log(1 + math.exp(-2)) + math.log(2)) / 2)
    loss, _ = dpo_loss(*values, torch.tensor([1.0, 0.0]), 0.5)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)) / 2)


@torch.no_grad()
def whole_logprob(model: Any, prompt: list[int], response: list[int], heat: float) -> float:
    logits = model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
    logprobs = (logits / heat).log_softmax(-1)
    return float(logprobs.gather(-1, torch.tensor(response)[:, None]).sum())


def test_loss_of_a_rollout_from_its_rows(tmp_path: Path, captured: list[OnlineDPOTrainer]) -> None:
    """Every pair is the best and worst of its own prompt, against the start model."""
    method = OnlineDPO(**COMMON, samples_per_prompt=4, beta=0.3, temperature=0.8)
    trained, _, _ = tiny.train(tmp_path, method)
    trainer = captured[0]
    rows = [{"prompt": str(number)} for number in range(4) for _ in range(4)]
    batch = trainer._generate_and_score_completions(rows)
    start, _ = load_policy(trained.folder)
    expected, pairs = [], 0
    for number in range(4):
        scores = trainer._scores[4 * number : 4 * number + 4].tolist()
        if max(scores) == min(scores):
            expected.append(0.0)
            continue
        pairs += 1
        ratios = []
        for value in (max(scores), min(scores)):
            row = 4 * number + scores.index(value)
            ids = trainer._answers.prompt_ids[row], trainer._answers.completions[row].ids
            ratios.append(whole_logprob(trained.model, *ids, 0.8) - whole_logprob(start, *ids, 0.8))
        expected.append(math.log(1 + math.exp(-0.3 * (ratios[0] - ratios[1]))))
    assert pairs >= 2
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer._compute_loss(trainer.model, batch)
    assert loss.item() == pytest.approx(sum(expected) / 4, abs=1e-4)
    assert loss.item() != pytest.approx(pairs * math.log(2) / 4, abs=1e-3)


def test_shuffling_and_cutting_keep_pairs_together(
    tmp_path: Path, captured: list[OnlineDPOTrainer]
) -> None:
    from trl.trainer.utils import shuffle_sequence_dict, split_tensor_dict

    tiny.train(tmp_path, OnlineDPO(**COMMON))
    trainer = captured[0]
    rows = [{"prompt": str(number)} for number in range(4) for _ in range(2)]
    batch = trainer._generate_and_score_completions(rows)
    trainer.current_gradient_accumulation_steps = 1
    whole = trainer._compute_loss(trainer.model, batch).item()
    pieces = split_tensor_dict(shuffle_sequence_dict(batch), 4)
    parts = [trainer._compute_loss(trainer.model, piece).item() for piece in pieces]
    assert sum(parts) / 4 == pytest.approx(whole, abs=1e-5)


def test_accumulation_does_not_change_the_update(tmp_path: Path) -> None:
    # TRL's online DPO sums gradients over accumulation steps.
    weights = []
    for pieces in (1, 4):
        method = OnlineDPO(**{**COMMON, "rollouts": 1}, gradient_accumulation=pieces)
        trained, _, meter = tiny.train(tmp_path, method)
        assert meter.bill()["optimizer_steps"] == 1
        weights.append(trained.model.transformer.wte.weight.detach().clone())
    assert torch.allclose(*weights, atol=1e-5)


def test_reference_checks_and_log(tmp_path: Path, captured: list[OnlineDPOTrainer]) -> None:
    trained, offered, _ = tiny.train(tmp_path, OnlineDPO(**COMMON, minibatches=2, epochs=2))
    assert offered.facts["reference_digest"] == trained.digest
    assert weights_digest(captured[0].reference) == trained.digest
    assert weights_digest(trained.model) != trained.digest
    assert offered.facts["rollout_logprob_error"] < 1e-4
    assert captured[0].ref_model is None
    first = offered.facts["logs"][0]
    assert first["sequence_kl"] == pytest.approx(0.0, abs=1e-4)
    assert {"reward_raw", "finished", "sampled_entropy", "flops"} <= first.keys()
    assert any("rewards_margins" in line for line in offered.facts["logs"])


class Flipped(tiny.WordReward):
    """Prefers answers without the word."""

    def score_ids(self, prompt_ids: Any, completion_ids: Sequence[Sequence[int]]) -> list[float]:
        return [-score for score in super().score_ids(prompt_ids, completion_ids)]


@pytest.mark.parametrize(("reward", "learns"), [(tiny.WordReward, True), (Flipped, False)])
def test_it_follows_the_reward(reward: type[tiny.WordReward], learns: bool, tmp_path: Path) -> None:
    before = tiny.good_share(tiny.policy(tiny.start_folder(tmp_path)))
    method = OnlineDPO(
        learning_rate=1e-2,
        rollouts=15,
        prompts_per_rollout=16,
        samples_per_prompt=4,
        missing_eos_penalty=0.0,
    )
    given = reward.load(tiny.reward_folder(tmp_path))
    trained, _, _ = tiny.train(tmp_path, method, reward=given)
    share = tiny.good_share(trained)
    assert share > 0.9 if learns else share < before / 2


def test_a_budget_ends_it(tmp_path: Path) -> None:
    method = OnlineDPO(**{**COMMON, "rollouts": None})
    assert method.needs_budget()
    _, _, meter = tiny.train(tmp_path, method, budget=Budget(optimizer_steps=3))
    assert meter.bill()["optimizer_steps"] == 3
    assert meter.early_reason is None


def test_options() -> None:
    assert isinstance(resolve("online_dpo", {"learning_rate": 1e-4}), OnlineDPO)
    with pytest.raises(ValidationError, match=r"4 pairs per rollout .* into 8 equal pieces"):
        OnlineDPO(**COMMON, samples_per_prompt=2, minibatches=8)
    with pytest.raises(ValidationError, match="kl_coef"):
        OnlineDPO(**COMMON, kl_coef=0.1)
