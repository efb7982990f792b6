"""Every rule fires on a training that really goes wrong, in the world of sixteen words.

Each takes a few seconds, all together over a minute. Sane settings keep every rule silent.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alignbench.health import (
    Diagnosis,
    RewardModelRecord,
    TrainingRecord,
    diagnose,
    diagnose_reward_model,
)
from alignbench.methods.base import Method, Pair
from alignbench.methods.dpo import DPO
from alignbench.methods.grpo import GRPO
from alignbench.methods.ppo import PPO
from alignbench.methods.reinforce import Reinforce
from alignbench.models.reward import RewardScorer
from alignbench.stages import reward
from tests import tiny
from tests.stages.tiny_stages import run_stage, write_lines

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {"prompts_per_rollout": 8, "samples_per_prompt": 4}
SANE: dict[str, Any] = {**SMALL, "learning_rate": 3e-3, "kl_coef": 0.1}
ROOMY = 20  # tokens in which most random answers end
SANE_DPO: dict[str, Any] = {"learning_rate": 1e-3, "epochs": 1, "logging_steps": 1}


def scorer(tmp_path: Path, score: Callable[[Sequence[int]], float]) -> RewardScorer:
    """A reward that is a function of the answer's token ids."""

    class Score(RewardScorer):
        def score_ids(
            self, prompt_ids: Sequence[Sequence[int]], completion_ids: Sequence[Sequence[int]]
        ) -> list[float]:
            return [score(ids) for ids in completion_ids]

    return Score.load(tiny.reward_folder(tmp_path))


def trained(tmp_path: Path, method: Method, **changes: Any) -> TrainingRecord:
    _, offered, _ = tiny.train(tmp_path, method, **changes)
    facts = dict(offered.facts)
    log = facts.pop("logs")
    return TrainingRecord(method.name, 0, method.name, method.model_dump(), log, facts)


def fired(diagnosis: Diagnosis) -> set[str]:
    return {finding.rule for finding in diagnosis.findings}


@pytest.mark.parametrize(
    "method",
    [
        GRPO(**SANE, rollouts=40),
        Reinforce(**SANE, rollouts=40),
        PPO(**{**SANE, "learning_rate": 2e-3}, rollouts=20, epochs=2, minibatches=2),
    ],
    ids=lambda method: method.name,
)
def test_sane_on_policy_trainings_are_silent(method: Method, tmp_path: Path) -> None:
    diagnosis = diagnose(trained(tmp_path, method, max_response_tokens=ROOMY))
    assert fired(diagnosis) == set()
    assert len(diagnosis.healthy) == 9


def test_a_sane_dpo_is_silent(tmp_path: Path) -> None:
    diagnosis = diagnose(trained(tmp_path, DPO(**SANE_DPO), pairs=tiny.pairs(n=512)))
    assert fired(diagnosis) == set()
    assert len(diagnosis.healthy) == 4


def test_a_huge_learning_rate_without_kl_penalty(tmp_path: Path) -> None:
    wild = Reinforce(**SMALL, learning_rate=0.3, rollouts=40, kl_coef=1e-4, schedule="constant")
    found = fired(diagnose(trained(tmp_path, wild)))
    assert found >= {
        "reward_spread_collapse",
        "entropy_collapse",
        "kl_high",
        "unfinished_answers",
    }
    assert not found & {"kl_low", "reward_flat"}


def test_a_tiny_learning_rate(tmp_path: Path) -> None:
    # 256 answers a rollout: fewer leave open whether the reward rose.
    asleep = GRPO(
        learning_rate=1e-6, kl_coef=0.1, prompts_per_rollout=32, samples_per_prompt=8, rollouts=18
    )
    diagnosis = diagnose(trained(tmp_path, asleep))
    assert fired(diagnosis) >= {"reward_flat", "kl_low"}
    assert not fired(diagnosis) & {"reward_falling", "kl_high", "entropy_collapse"}


def test_flipped_advantages_let_the_reward_fall(tmp_path: Path) -> None:
    class Flipped(GRPO):
        def advantages(self, rollout: Any) -> Any:
            advantages, extra = super().advantages(rollout)
            return -advantages, extra

    flipped = Flipped(**{**SANE, "learning_rate": 1e-2}, rollouts=40)
    found = fired(diagnose(trained(tmp_path, flipped, max_response_tokens=ROOMY)))
    assert "reward_falling" in found


def test_equal_rewards_are_a_spread_collapse(tmp_path: Path) -> None:
    blind = scorer(tmp_path, lambda ids: 1.0)
    diagnosis = diagnose(trained(tmp_path, GRPO(**SANE, rollouts=15), reward=blind))
    [found] = [f for f in diagnosis.findings if f.rule == "reward_spread_collapse"]
    assert found.level == "error"
    assert "reward_flat" in {u.rule for u in diagnosis.unchecked}


def test_rarely_differing_rewards_leave_groups_tied(tmp_path: Path) -> None:
    rare = scorer(tmp_path, lambda ids: float(list(ids[:2]) == [tiny.GOOD, tiny.GOOD]))
    slow = GRPO(**{**SANE, "learning_rate": 1e-5}, rollouts=20)
    found = fired(diagnose(trained(tmp_path, slow, reward=rare)))
    assert "reward_spread_collapse" in found


def test_a_reward_that_changes_its_mind_is_unstable(tmp_path: Path) -> None:
    calls = [0]

    def fickle(ids: Sequence[int]) -> float:
        calls[0] += 1  # one call per answer: the sign turns with every rollout
        return (-1) ** ((calls[0] - 1) // 32) * (1.0 + (tiny.GOOD in ids))

    record = trained(tmp_path, GRPO(**SANE, rollouts=30), reward=scorer(tmp_path, fickle))
    assert "reward_unstable" in fired(diagnose(record))


def test_many_large_steps_on_one_rollout_are_clipped(tmp_path: Path) -> None:
    greedy = PPO(
        **{**SANE, "learning_rate": 0.1}, rollouts=15, epochs=4, minibatches=2, schedule="constant"
    )
    assert "ratio_clipped" in fired(diagnose(trained(tmp_path, greedy)))


def test_answers_cut_at_the_limit(tmp_path: Path) -> None:
    careless = GRPO(**SANE, rollouts=15, missing_eos_penalty=0.0)
    found = fired(diagnose(trained(tmp_path, careless, max_response_tokens=4)))
    assert "unfinished_answers" in found


def shuffled(n: int) -> list[Pair]:
    """Pairs labelled by a coin."""
    coin = random.Random(0)
    turned = (Pair(p.prompt, p.rejected, p.chosen) for p in tiny.pairs(n=n))
    return [q if coin.random() < 0.5 else p for p, q in zip(tiny.pairs(n=n), turned, strict=True)]


def test_dpo_on_random_labels_is_stuck(tmp_path: Path) -> None:
    found = fired(diagnose(trained(tmp_path, DPO(**SANE_DPO), pairs=shuffled(512))))
    assert "preference_stuck" in found


def test_dpo_overdone(tmp_path: Path) -> None:
    overdone = DPO(learning_rate=1e-2, epochs=4, logging_steps=1, beta=0.5)
    found = fired(diagnose(trained(tmp_path, overdone)))
    assert found >= {"chosen_falling", "margins_exploding", "entropy_collapse"}


def reward_model(
    tmp_path: Path, train: Sequence[Pair], valid: Sequence[Pair], **changes: Any
) -> Diagnosis:
    """The diagnosis of a reward model trained by the real stage."""
    tiny.start_folder(tmp_path)
    for split in ("proxy", "gold"):
        for name, pairs in (("", train), ("_valid", valid)):
            rows = [{"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected} for p in pairs]
            write_lines(tmp_path / "data" / f"pairs_{split}{name}.jsonl", rows)
    settings = {
        "learning_rate": 5e-3, "epochs": 2, "batch_size": 8, "gradient_accumulation": 1,
        "warmup_fraction": 0.1, "minimum_accuracy": 0.7, "seed": 0, "gold_seed": 1, **changes,
    }  # fmt: skip
    config = {"reward_model": settings, "split": "proxy", "seed": 0}
    folders = {"data": tmp_path / "data", "sft": tmp_path / "start"}
    run_stage(reward.run, tmp_path / "out", config, folders)
    return diagnose_reward_model(RewardModelRecord.read(tmp_path / "out", "proxy", settings))


def test_a_sane_reward_model_is_silent(tmp_path: Path) -> None:
    """(Its answers are all of one length: nothing can be said about a bias.)"""
    pairs = tiny.pairs(n=600)
    diagnosis = reward_model(tmp_path, pairs[:400], pairs[400:])
    assert diagnosis.findings == []
    assert diagnosis.healthy == ["rm_accuracy_low", "rm_scores_alike", "rm_overfit"]


def test_random_labels_teach_no_accuracy_and_no_spread(tmp_path: Path) -> None:
    pairs = shuffled(800)
    diagnosis = reward_model(tmp_path, pairs[:400], pairs[400:], epochs=1)
    assert fired(diagnosis) == {"rm_accuracy_low", "rm_scores_alike"}


def test_random_labels_learnt_by_heart(tmp_path: Path) -> None:
    pairs = shuffled(500)
    diagnosis = reward_model(tmp_path, pairs[:100], pairs[100:], epochs=15)
    assert fired(diagnosis) == {"rm_accuracy_low", "rm_overfit"}


def test_labels_that_prefer_length(tmp_path: Path) -> None:
    dice = random.Random(0)

    def words(low: int, high: int) -> str:
        return " ".join(dice.choices(tiny.WORDS, k=dice.randint(low, high)))

    pairs = [Pair(tiny.PROMPTS[i % 4], words(4, 7), words(1, 3)) for i in range(600)]
    diagnosis = reward_model(tmp_path, pairs[:400], pairs[400:])
    assert fired(diagnosis) == {"rm_length_bias"}


def test_a_proxy_that_counts_what_gold_wants_once(tmp_path: Path) -> None:
    """Proxy: the more "good" the better. Gold: 1 for having it, less for every repetition.

    The curve is made of the trained policy's own rollouts, a fifth of them per point.
    """
    proxy, gold = [], []

    def exploitable(ids: Sequence[int]) -> float:
        count = list(ids).count(tiny.GOOD)
        proxy.append(float(count))
        gold.append(float(count > 0) - 0.3 * max(count - 1, 0))
        return proxy[-1]

    method = GRPO(**{**SANE, "learning_rate": 5e-3, "kl_coef": 1e-3}, rollouts=40)
    record = trained(tmp_path, method, reward=scorer(tmp_path, exploitable))
    assert len(proxy) == 40 * 32
    points = [
        {
            "fraction": (i + 1) / 5,
            "reward_proxy": _interval(proxy[i * 256 : (i + 1) * 256]),
            "reward_gold": _interval(gold[i * 256 : (i + 1) * 256]),
        }
        for i in range(5)
    ]
    findings = {f.rule: f for f in diagnose(replace(record, curve=points)).findings}
    found = findings["overoptimised"]
    assert found.evidence["gold_change"] < 0 < found.evidence["proxy_change"]
    agreeing = [{**p, "reward_gold": p["reward_proxy"]} for p in points]
    assert "overoptimised" in diagnose(replace(record, curve=agreeing)).healthy


def _interval(values: Sequence[float]) -> dict[str, float]:
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    half = 1.96 * (variance / len(values)) ** 0.5
    return {"value": mean, "low": mean - half, "high": mean + half}
