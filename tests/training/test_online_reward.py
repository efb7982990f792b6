"""The reward model that follows the labeller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignbench.engines.sampler import TransformersSampler
from alignbench.metering.budget import Budget
from alignbench.metering.data import MeteredLabeller
from alignbench.metering.meter import Meter
from alignbench.methods.base import Inputs, Need
from alignbench.methods.grpo import GRPO
from alignbench.methods.onpolicy import Online, OnlineReward, Slot
from alignbench.methods.ppo import PPO
from alignbench.models.load import weights_digest
from alignbench.models.reward import RewardScorer
from alignbench.training.mixed import Answers, answer
from alignbench.training.online_reward import OnlineRewardModel
from tests import tiny

OPTIONS = OnlineReward(every=1, pairs=64, learning_rate=1e-2, steps=25)
COMMON: dict[str, Any] = {
    "learning_rate": 1e-3,
    "rollouts": 4,
    "prompts_per_rollout": 4,
    "samples_per_prompt": 8,
}


class LongerIsBetter:
    """A labeller without ties, but for answers of one length."""

    name = "length"

    def utilities(self, prompt: str, responses: Sequence[str]) -> list[float]:
        return [float(len(text)) for text in responses]


def rollout(tmp_path: Path, seed: int, n: int = 128) -> Answers:
    subject = tiny.policy(tiny.start_folder(tmp_path))
    prompts = [prompt for prompt in tiny.PROMPTS for _ in range(n // 4)]
    slots = [Slot("policy", 1.0)] * (n // 4)
    sampler = TransformersSampler(subject.model, subject.tokenizer)
    return answer(slots, prompts, sampler, None, subject.tokenizer, 20, seed)


def made(
    tmp_path: Path,
    scorer: RewardScorer,
    sign: float,
    options: OnlineReward = OPTIONS,
    budget: Budget | None = None,
) -> tuple[OnlineRewardModel, Inputs, Meter, list[str]]:
    """An online reward model, its inputs, the meter that its labels are charged to, and notes."""
    subject = tiny.policy(tiny.start_folder(tmp_path))
    meter, notes = Meter(budget), []
    offered = tiny.inputs(
        tmp_path,
        subject,
        GRPO(**COMMON),
        reward=scorer,
        labeller=MeteredLabeller(tiny.WordLabeller(sign), meter),
        note=lambda kind, message: notes.append(message),
    )
    return OnlineRewardModel(options, offered, meter), offered, meter, notes


def scores(model: Any, answers: Answers) -> np.ndarray:
    return np.asarray(
        model.score_ids(answers.prompt_ids, [done.ids for done in answers.completions])
    )


def preference_for_good(model: Any, answers: Answers) -> float:
    """Mean score of answers with "good" less that of the others, in standard deviations."""
    raw = scores(model, answers)
    good = np.array([tiny.GOOD in done.ids for done in answers.completions])
    return float((raw[good].mean() - raw[~good].mean()) / raw.std())


def test_a_wrong_reward_model_moves_to_the_labeller(tmp_path: Path) -> None:
    fresh = RewardScorer.load(tiny.reward_folder(tmp_path))
    fresh.model.config.pad_token_id = 1
    held_out = rollout(tmp_path, 99)
    misled, *_ = made(tmp_path, fresh, -1.0)
    for seed in range(2):
        newest = rollout(tmp_path, seed)
        misled.refresh(newest, list(scores(misled, newest)))
    wrong = misled.scorer
    assert preference_for_good(wrong, held_out) < -0.5
    digest, before = weights_digest(wrong.model), scores(wrong, held_out)

    online, offered, meter, _ = made(tmp_path, wrong, 1.0)
    assert scores(online, held_out).tolist() == before.tolist()
    agreements = []
    for seed in range(3, 6):
        newest = rollout(tmp_path, seed)
        agreements.append(online.refresh(newest, list(scores(online, newest))))
    assert agreements[0] is not None
    assert agreements[0] < 0.5
    assert agreements[2] is not None
    assert agreements[2] > 0.5
    assert preference_for_good(online, held_out) > 0.5
    # What was given has not changed.
    assert offered.reward is wrong
    assert weights_digest(wrong.model) == digest
    assert scores(wrong, held_out).tolist() == before.tolist()
    facts = offered.facts["online_reward"]
    assert facts["refreshes"] == 3
    assert facts["ai_labels"] == meter.bill()["ai_labels"]
    assert 0 < facts["pairs"] <= facts["ai_labels"] / 2 <= 3 * OPTIONS.pairs


def test_a_refresh_keeps_level_and_spread_of_the_newest_scores(tmp_path: Path) -> None:
    online, *_ = made(tmp_path, RewardScorer.load(tiny.reward_folder(tmp_path)), 1.0)
    for seed in range(2):
        newest = rollout(tmp_path, seed)
        before = scores(online, newest)
        online.refresh(newest, list(before))
        after = scores(online, newest)
        assert not np.allclose(after, before, atol=1e-2)
        assert after.mean() == pytest.approx(before.mean(), abs=1e-6)
        assert after.std() == pytest.approx(before.std(), abs=1e-6)
    assert online.scale != 1.0


def test_pairs_are_disjoint_complete_and_of_one_prompt(tmp_path: Path) -> None:
    seen: list[tuple[str, list[str]]] = []

    class Spy(tiny.WordLabeller):
        def utilities(self, prompt: str, responses: Any) -> list[float]:
            seen.append((prompt, list(responses)))
            return super().utilities(prompt, responses)

    online, *_ = made(tmp_path, RewardScorer.load(tiny.reward_folder(tmp_path)), 1.0)
    online.labeller = Spy()
    answers = rollout(tmp_path, 0)
    online.refresh(answers, list(scores(online, answers)))
    texts = answers.texts(tiny.tokenizer())
    complete = {
        (prompt, text)
        for prompt, text, done in zip(answers.prompts, texts, answers.completions, strict=True)
        if done.finished
    }
    shown = [(prompt, text) for prompt, pair in seen for text in pair]
    assert len(shown) == len(set(shown)) >= 8
    assert set(shown) <= complete
    assert not all(done.finished for done in answers.completions)
    assert all(len(pair) == 2 for _, pair in seen)


def test_labels_running_out_stop_the_refreshes_with_one_note(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"pairs": 4})
    online, offered, meter, notes = made(
        tmp_path,
        RewardScorer.load(tiny.reward_folder(tmp_path)),
        1.0,
        options,
        Budget(ai_labels=11),
    )
    answers = rollout(tmp_path, 0)
    for _ in range(4):
        online.refresh(answers, list(scores(online, answers)))
    # 8 labels, then 2 of the 3 that are left, then none.
    assert meter.bill()["ai_labels"] == offered.facts["online_reward"]["ai_labels"] == 10
    assert len(notes) == 1
    assert "no AI labels left" in notes[0]
    digest = weights_digest(online.scorer.model)
    assert online.refresh(answers, list(scores(online, answers))) is None
    assert weights_digest(online.scorer.model) == digest


def test_a_spent_budget_buys_no_labels(tmp_path: Path) -> None:
    online, _, meter, _ = made(
        tmp_path,
        RewardScorer.load(tiny.reward_folder(tmp_path)),
        1.0,
        budget=Budget(tokens_scored=1),
    )
    answers = rollout(tmp_path, 0)
    meter.charge(tokens_scored=1)
    assert online.refresh(answers, [0.0] * 128) is None
    assert meter.bill()["ai_labels"] == 0


def test_no_pairs_no_refresh(tmp_path: Path) -> None:
    online, offered, _, _ = made(tmp_path, RewardScorer.load(tiny.reward_folder(tmp_path)), 1.0)
    answers = rollout(tmp_path, 0)
    cut = replace(
        answers, completions=[replace(done, finished=False) for done in answers.completions]
    )
    digest = weights_digest(online.scorer.model)
    assert online.refresh(cut, [0.0] * 128) is None
    assert weights_digest(online.scorer.model) == digest
    assert offered.facts["online_reward"] == {"refreshes": 0, "ai_labels": 0, "pairs": 0}


@pytest.mark.parametrize("kind", [GRPO, PPO])
def test_training_with_an_online_reward_model(kind: type[Online], tmp_path: Path) -> None:
    plain = kind(**COMMON)
    method = kind(**COMMON, online_reward=OnlineReward(every=2, pairs=3, learning_rate=1e-3))
    assert Need.LABELLER in method.needs_of()
    assert Need.LABELLER not in plain.needs_of()
    given = RewardScorer.load(tiny.reward_folder(tmp_path))
    digest = weights_digest(given.model)
    trained, offered, meter = tiny.train(
        tmp_path, method, reward=given, labeller=LongerIsBetter(), max_response_tokens=20
    )
    assert weights_digest(trained.model) != trained.digest
    assert weights_digest(given.model) == digest
    # After the second of four rollouts; after the fourth it would be of no use.
    facts = offered.facts["online_reward"]
    assert facts["refreshes"] == 1
    assert facts["ai_labels"] == meter.bill()["ai_labels"] == 6
    logged = [
        line["reward_agreement"] for line in offered.facts["logs"] if "reward_agreement" in line
    ]
    assert len(logged) == 1
    assert 0 <= logged[0] <= 1
    # The refreshes are no steps of the policy.
    steps = 4 * method.minibatches * method.epochs
    assert meter.bill()["optimizer_steps"] == steps


def test_same_seed_same_reward_model(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        online, *_ = made(tmp_path, RewardScorer.load(tiny.reward_folder(tmp_path)), 1.0)
        answers = rollout(tmp_path, 0)
        online.refresh(answers, list(scores(online, answers)))
        found.append(weights_digest(online.scorer.model))
    assert found[0] == found[1]
