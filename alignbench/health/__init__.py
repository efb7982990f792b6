"""The debugging tables of the project's seed document (sections 2.2 to 2.5) as rules over logs.

`diagnose` and `diagnose_reward_model` are pure: they read records and need no torch. See
docs/health.md for the rules.
"""

from __future__ import annotations

from collections.abc import Iterable

from alignbench.health.overoptimisation import CURVE_RULES
from alignbench.health.policy import DRIFT_RULES, POLICY_RULES
from alignbench.health.preference import PREFERENCE_RULES
from alignbench.health.reward_model import REWARD_MODEL_RULES
from alignbench.health.rule import (
    Diagnosis,
    Finding,
    Record,
    RewardModelRecord,
    Rule,
    TrainingRecord,
    Unchecked,
)
from alignbench.health.series import NotCheckedError

__all__ = [
    "Diagnosis",
    "Finding",
    "RewardModelRecord",
    "TrainingRecord",
    "Unchecked",
    "diagnose",
    "diagnose_reward_model",
    "table",
]

_POLICY_MARK, _PREFERENCE_MARK = "reward_raw", "rewards_margins"
"""What a log of either family has (online DPO's has both)."""


def diagnose(run: TrainingRecord) -> Diagnosis:
    """What the rules say about one row and seed.

    Rules of the families that the log belongs to are applied, those of all families to a log that
    belongs to none (and most of them are then reported as not checked). A method that made no
    optimizer step has nothing to diagnose but its curve.
    """
    return _apply(_rules_for(run), run)


def diagnose_reward_model(model: RewardModelRecord) -> Diagnosis:
    """What the rules say about one reward model."""
    return _apply(REWARD_MODEL_RULES, model)


def table() -> str:
    """The table of docs/health.md."""
    rows = [rule.described() for rule in (*POLICY_RULES, *PREFERENCE_RULES, *DRIFT_RULES)]
    rows += [rule.described() for rule in CURVE_RULES]
    rows += [rule.described() for rule in REWARD_MODEL_RULES]
    head = ("rule", "what it sees", "fires", "remedy", "source (seed document)")
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _rules_for(run: TrainingRecord) -> list[Rule[TrainingRecord]]:
    if run.metrics.get("consumed", {}).get("optimizer_steps") == 0:
        return list(CURVE_RULES) if run.curve else []
    keys = {key for line in run.log for key in line}
    neither = not keys & {_POLICY_MARK, _PREFERENCE_MARK}
    rules: list[Rule[TrainingRecord]] = []
    if _POLICY_MARK in keys or neither:
        rules += POLICY_RULES
    if _PREFERENCE_MARK in keys or neither:
        rules += PREFERENCE_RULES
    return [*rules, *DRIFT_RULES, *CURVE_RULES]


def _apply(rules: Iterable[Rule[Record]], record: Record) -> Diagnosis:
    findings, unchecked, healthy = [], [], []
    for rule in rules:
        try:
            symptom = rule.check(record)
        except NotCheckedError as reason:
            unchecked.append(Unchecked(rule.name, record.row, record.seed, str(reason)))
            continue
        if symptom is None:
            healthy.append(rule.name)
            continue
        findings.append(
            Finding(
                rule=rule.name,
                row=record.row,
                seed=record.seed,
                level=symptom.level,
                finding=symptom.finding,
                evidence=symptom.evidence,
                remedy=rule.remedy_for(record),
                source=rule.source,
            )
        )
    return Diagnosis(findings, unchecked, healthy)
