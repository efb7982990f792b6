from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from alignbench.health import RewardModelRecord, diagnose_reward_model
from tests.health import logs

SICK: dict[str, dict[str, Any]] = {
    "rm_accuracy_low": {"accuracy": 0.62},
    "rm_scores_alike": {"score_std": 0.1},
    "rm_length_bias": {"longer_wins_predicted": 0.75},
    "rm_overfit": {},
}


def sick(rule: str) -> RewardModelRecord:
    record = logs.reward_model(**SICK[rule])
    if rule == "rm_overfit":
        log = [{**x, "accuracy": x["accuracy"] + 0.25} for x in record.log if "accuracy" in x]
        record = dataclasses.replace(record, log=log)
    return record


def fired(record: RewardModelRecord) -> list[str]:
    return [finding.rule for finding in diagnose_reward_model(record).findings]


def test_a_healthy_model_is_silent() -> None:
    for seed in range(50):
        diagnosis = diagnose_reward_model(logs.reward_model(seed=seed))
        assert (diagnosis.findings, diagnosis.unchecked) == ([], [])
        assert diagnosis.healthy == list(SICK)


@pytest.mark.parametrize("rule", SICK)
def test_each_rule_fires_on_its_symptom_alone(rule: str) -> None:
    [found] = diagnose_reward_model(sick(rule)).findings
    assert (found.rule, found.row, found.seed) == (rule, "reward/proxy", None)
    assert found.source.startswith("2.2 problem")
    assert "{" not in found.remedy


@pytest.mark.parametrize("rule", SICK)
def test_without_its_figure_a_rule_is_not_checked(rule: str) -> None:
    record = sick(rule)
    empty = dataclasses.replace(record, metrics={}, log=[])
    diagnosis = diagnose_reward_model(empty)
    assert diagnosis.findings == []
    assert {found.rule for found in diagnosis.unchecked} == set(SICK)
    unknown = dataclasses.replace(record, metrics=dict.fromkeys(record.metrics), log=record.log[:9])
    assert fired(unknown) == []


def test_few_pairs_cannot_say_that_accuracy_is_low() -> None:
    diagnosis = diagnose_reward_model(logs.reward_model(accuracy=0.62, valid_pairs=34))
    assert diagnosis.findings == []
    assert "62.0% of 34 held-out pairs cannot be told from 70%" in diagnosis.unchecked[0].reason


def test_guessing_is_an_error() -> None:
    levels = [
        diagnose_reward_model(logs.reward_model(accuracy=share)).findings[0].level
        for share in (0.5, 0.62)
    ]
    assert levels == ["error", "warning"]


def test_the_recipe_says_what_accuracy_is_wanted() -> None:
    record = logs.reward_model(accuracy=0.62)
    modest = dataclasses.replace(record, options={**record.options, "minimum_accuracy": 0.6})
    assert fired(modest) == []


@pytest.mark.parametrize(
    "figures",
    [
        {"longer_wins_predicted": 0.95, "longer_wins_labels": 0.95},  # the labels' own bias counts
        {"longer_wins_predicted": 0.05, "longer_wins_labels": 0.05},  # as does brevity
        {"length_correlation": 0.85},
        {"length_correlation": -0.85},
        {"longer_wins_predicted": 0.4, "longer_wins_labels": 0.6},
    ],
)
def test_every_kind_of_length_bias(figures: dict[str, float]) -> None:
    assert fired(logs.reward_model(**figures)) == ["rm_length_bias"]
    assert fired(logs.reward_model(**figures, valid_pairs=5)) == []  # five pairs prove nothing


def test_remedies_name_reward_model_keys() -> None:
    [found] = diagnose_reward_model(sick("rm_overfit")).findings
    assert "Lower reward_model.epochs (now 2)" in found.remedy
