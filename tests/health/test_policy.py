from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from alignbench.health import Finding, TrainingRecord, diagnose
from tests.health import logs
from tests.health.logs import saturating


def fired(record: TrainingRecord) -> dict[str, Finding]:
    return {finding.rule: finding for finding in diagnose(record).findings}


def unchecked(record: TrainingRecord) -> dict[str, str]:
    return {found.rule: found.reason for found in diagnose(record).unchecked}


@pytest.mark.parametrize("lines", [38, 70, 300])
def test_healthy_logs_are_silent_under_any_noise(lines: int) -> None:
    for seed in range(50):
        diagnosis = diagnose(logs.policy(lines, seed))
        assert diagnosis.findings == []
        assert [found.rule for found in diagnosis.unchecked] == ["overoptimised"]
        assert len(diagnosis.healthy) == 9


SICK: dict[str, dict[str, Any]] = {
    "reward_falling": {"reward_raw": (saturating(0.8, 0.2), 0.13)},
    "reward_flat": {"reward_raw": (lambda x: 0.3 + 0.02 * x, 0.06)},
    "reward_unstable": {"reward_raw": (saturating(0.3, 1.0), 1.6)},
    "kl_high": {"sequence_kl": (saturating(0.0, 8.0), 0.5)},
    "kl_low": {"sequence_kl": (saturating(0.0, 0.02), 0.02)},
    "reward_spread_collapse": {"reward_spread": (saturating(0.83, 0.1), 0.05)},
    "ratio_clipped": {"clip_ratio_region_mean": (lambda x: 0.25 - 0.1 * x, 0.04)},
    "entropy_collapse": {"sampled_entropy": (saturating(0.34, 0.05), 0.02)},
    "unfinished_answers": {"finished": (lambda x: 0.99 - 0.6 * x, 0.03)},
}


@pytest.mark.parametrize("rule", SICK)
def test_each_rule_fires_on_its_symptom_alone(rule: str) -> None:
    for seed in range(20):
        assert list(fired(logs.policy(seed=seed, **SICK[rule]))) == [rule]


@pytest.mark.parametrize("rule", SICK)
def test_findings_are_complete(rule: str) -> None:
    found = fired(logs.policy(**SICK[rule]))[rule]
    assert (found.row, found.seed) == ("grpo", 0)
    assert found.finding.endswith(".")
    assert found.source.startswith("2.")
    assert all(isinstance(v, (int, float, str, list)) for v in found.evidence.values())
    assert "{" not in found.remedy


@pytest.mark.parametrize("rule", SICK)
def test_a_short_log_or_one_without_the_quantity_is_not_judged(rule: str) -> None:
    short = logs.policy(lines=14, **SICK[rule])
    assert fired(short) == {}
    assert "at least 15 needed" in unchecked(short)[rule]
    quantities = dict.fromkeys(SICK[rule])
    absent = logs.policy(**quantities)
    assert fired(absent) == {}
    assert "the log has no" in unchecked(absent)[rule]


def test_remedies_name_the_recipe_keys_and_their_values() -> None:
    assert fired(logs.policy(**SICK["kl_high"]))["kl_high"].remedy == (
        "Raise methods.grpo.kl_coef (now 0.05) (two to five times), lower "
        "methods.grpo.learning_rate (now 0.0004), or stop earlier (a smaller budget)."
    )


def test_a_fall_after_a_rise_is_a_fall() -> None:
    hill = (lambda x: 0.3 + 4 * x * (1 - x), 0.13)
    found = fired(logs.policy(reward_raw=hill))["reward_falling"]
    assert found.level == "warning"  # it ends no lower than it began
    assert found.evidence["before_steps"] == [24, 47]
    cliff = (lambda x: np.where(x < 0.02, 0.5, -1.5), 0.1)
    found = fired(logs.policy(reward_raw=cliff))["reward_falling"]
    assert found.level == "error"
    assert found.evidence["before_steps"] == [1, 2]


def test_a_rise_at_the_very_start_is_not_flat() -> None:
    fast = (lambda x: np.where(x < 0.05, 0.3, 1.0), 0.05)
    assert fired(logs.policy(reward_raw=fast)) == {}


def test_noise_that_could_hide_a_rise_is_neither_flat_nor_healthy() -> None:
    for seed in range(20):
        record = logs.policy(lines=20, seed=seed, reward_raw=(lambda x: 0.3 + 0.02 * x, 0.3))
        assert "covers both a rise and none" in unchecked(record)["reward_flat"]
        assert fired(record) == {}


def test_kl_far_out_is_an_error() -> None:
    levels = {
        end: fired(logs.policy(sequence_kl=(saturating(0.0, end), 0.3)))["kl_high"].level
        for end in (7.0, 20.0)
    }
    assert levels == {7.0: "warning", 20.0: "error"}


@pytest.mark.parametrize("kl", [{"value": 7.5, "low": 7.0, "high": 8.0}, 7.5])
def test_kl_of_the_curve_where_the_log_has_none(kl: Any) -> None:
    record = logs.policy(sequence_kl=None)
    assert "no KL on a budget curve" in unchecked(record)["kl_high"]
    curve = [{"fraction": 0.5, "kl": 1.0}, {"fraction": 1.0, "kl": kl}]
    assert fired(dataclasses.replace(record, curve=curve))["kl_high"].evidence["kl"] == 7.5
    assert fired(dataclasses.replace(logs.policy(), curve=curve)) == {}  # the log comes first


def test_scores_alike_from_the_start() -> None:
    none = {"reward_spread": (lambda x: 0 * x, 0.0), "reward_raw": (lambda x: 1 + 0 * x, 0.0)}
    record = logs.policy(**none)
    assert fired(record)["reward_spread_collapse"].level == "error"
    assert "same reward" in unchecked(record)["reward_flat"]
    little = logs.policy(reward_spread=(lambda x: 0.03 + 0 * x, 0.001), reward_raw=None)
    assert fired(little) == {}  # small, but against what?
    against = dataclasses.replace(little, reward_model={"score_std": 1.0})
    assert fired(against)["reward_spread_collapse"].evidence["held_out_spread"] == 1.0


def test_tied_groups_are_a_spread_collapse() -> None:
    record = logs.policy(frac_reward_zero_std=(lambda x: 0.9 * x, 0.05))
    assert "75% of prompts" in fired(record)["reward_spread_collapse"].finding
    assert fired(logs.policy(frac_reward_zero_std=None)) == {}


def test_ppo_logs_have_lines_without_rollouts() -> None:
    """The reward is logged once per rollout, clip ratios at every step."""
    log = [dict(line) for line in logs.policy(lines=120).log]
    for place, line in enumerate(log):
        if place % 4:
            for name in ("reward_raw", "reward_spread", "finished", "sampled_entropy"):
                line.pop(name, None)
            line.pop("sequence_kl", None)
    record = dataclasses.replace(logs.policy(), log=log)
    assert fired(record) == {}
    assert list(unchecked(record)) == ["overoptimised"]
