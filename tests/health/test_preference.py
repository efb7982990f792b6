from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from alignbench.health import TrainingRecord, diagnose
from tests.health import logs
from tests.health.logs import saturating
from tests.health.test_policy import fired, unchecked

SICK: dict[str, dict[str, Any]] = {
    "preference_stuck": {"rewards_accuracies": (lambda x: 0.5 + 0 * x, 0.05)},
    "chosen_falling": {"rewards_chosen": (lambda x: -0.9 * x, 0.03)},
    "margins_exploding": {"rewards_margins": (saturating(0.0, 7.0), 0.3)},
    "entropy_collapse": {"entropy": (saturating(0.32, 0.05), 0.02)},
}


@pytest.mark.parametrize("lines", [38, 50, 300])
def test_healthy_logs_are_silent_under_any_noise(lines: int) -> None:
    for seed in range(50):
        diagnosis = diagnose(logs.preference(lines, seed))
        assert diagnosis.findings == []
        # Nothing in DPO's log says how far the policy went.
        assert [f.rule for f in diagnosis.unchecked] == ["kl_high", "kl_low", "overoptimised"]
        assert len(diagnosis.healthy) == 4


@pytest.mark.parametrize("rule", SICK)
def test_each_rule_fires_on_its_symptom_alone(rule: str) -> None:
    for seed in range(20):
        assert list(fired(logs.preference(seed=seed, **SICK[rule]))) == [rule]


@pytest.mark.parametrize("rule", SICK)
def test_a_short_log_or_one_without_the_quantity_is_not_judged(rule: str) -> None:
    short = logs.preference(lines=14, **SICK[rule])
    assert fired(short) == {}
    assert "at least 15 needed" in unchecked(short)[rule]
    absent = logs.preference(**dict.fromkeys(SICK[rule]))
    assert fired(absent) == {}
    if rule != "margins_exploding":  # by which the family is told
        assert "the log has no" in unchecked(absent)[rule]


def test_at_chance_is_an_error_and_low_is_a_warning() -> None:
    stuck = fired(logs.preference(seed=1, rewards_accuracies=(lambda x: 0.5 + 0 * x, 0.05)))
    low = fired(logs.preference(seed=1, rewards_accuracies=(lambda x: 0.56 + 0 * x, 0.03)))
    assert stuck["preference_stuck"].level == "error"
    assert low["preference_stuck"].level == "warning"


def test_low_but_rising_is_not_stuck() -> None:
    rising = logs.preference(lines=200, rewards_accuracies=(lambda x: 0.42 + 0.15 * x, 0.04))
    assert fired(rising) == {}


def test_an_accuracy_near_the_threshold_is_not_judged() -> None:
    record = logs.preference(seed=1, rewards_accuracies=(lambda x: 0.585 + 0 * x, 0.05))
    assert "within its noise of 60%" in unchecked(record)["preference_stuck"]


def test_fresh_pairs_of_an_online_method_are_not_judged_by_accuracy() -> None:
    log = [*logs.policy().log, *logs.preference(**SICK["preference_stuck"]).log]
    online = dataclasses.replace(logs.preference(), log=log)
    assert "fresh samples" in unchecked(online)["preference_stuck"]


def test_chosen_is_counted_in_nats() -> None:
    """The same rewards under a beta four times as large are a quarter of the nats."""
    record = logs.preference(**SICK["chosen_falling"])
    mild = dataclasses.replace(record, options={**record.options, "beta": 0.4})
    assert fired(mild) == {}


def test_without_a_reference_the_chosen_are_not_judged() -> None:
    record = logs.preference(**SICK["chosen_falling"])
    free = dataclasses.replace(record, metrics={"reference_digest": None})
    assert "no reference" in unchecked(free)["chosen_falling"]


def test_margins_of_ipo_are_its_target() -> None:
    record = logs.preference(**SICK["margins_exploding"])
    ipo = dataclasses.replace(record, method="ipo")
    assert "target margin" in unchecked(ipo)["margins_exploding"]


def nested(**changes: Any) -> TrainingRecord:
    """RLAIF, whose DPO is an option of its own."""
    record = logs.preference(**changes)
    options = {"prompts": 600, "then": "dpo", "dpo": logs.DPO_OPTIONS, "ppo": None}
    return dataclasses.replace(record, row="rlaif", method="rlaif", options=options)


def test_options_of_a_method_inside_a_method_are_found() -> None:
    found = fired(nested(**SICK["chosen_falling"]))["chosen_falling"]
    assert found.evidence["beta"] == 0.1
    assert "Raise methods.rlaif.dpo.beta (now 0.1)" in found.remedy


def test_an_option_that_a_method_lacks_is_named_bare() -> None:
    record = logs.preference(**SICK["margins_exploding"])
    bare = dataclasses.replace(record, options={"learning_rate": 1e-3})
    remedy = fired(bare)["margins_exploding"].remedy
    assert remedy.startswith("Lower epochs, lower methods.dpo.learning_rate (now 0.001)")
