from __future__ import annotations

import dataclasses
from typing import Any

from alignbench.health import Finding, diagnose
from tests.health import logs

Points = list[dict[str, Any]]


def curve(proxy: list[float], gold: list[float], half_width: float = 0.1) -> Points:
    def interval(value: float) -> dict[str, float]:
        return {"value": value, "low": value - half_width, "high": value + half_width}

    n = len(proxy)
    return [
        {
            "fraction": (i + 1) / n,
            "reward_proxy": interval(proxy[i]),
            "reward_gold": interval(gold[i]),
            "kl": 1.0 + i / n,
        }
        for i in range(n)
    ]


def found(points: Points | None) -> Finding | None:
    findings = diagnose(dataclasses.replace(logs.policy(), curve=points)).findings
    assert len(findings) <= 1
    return findings[0] if findings else None


def reason(points: Points | None) -> str:
    [unchecked] = diagnose(dataclasses.replace(logs.policy(), curve=points)).unchecked
    return unchecked.reason


def test_proxy_up_and_gold_down() -> None:
    finding = found(curve([5.0, 6.0, 7.0, 8.0], [6.0, 7.0, 6.6, 6.3]))
    assert finding is not None
    assert (finding.rule, finding.level) == ("overoptimised", "warning")
    assert finding.evidence["peak_fraction"] == 0.5
    assert finding.evidence["end_fraction"] == 1.0
    assert "From 50% of the budget on" in finding.finding
    worse = found(curve([5.0, 6.0, 7.0, 8.0], [6.0, 7.0, 6.0, 5.0]))
    assert worse is not None
    assert worse.level == "error"


def test_not_otherwise() -> None:
    assert found(curve([5, 6, 7, 8], [5, 6, 7, 8])) is None  # both rise
    assert found(curve([5, 6, 7, 6], [6, 7, 6.6, 6.3])) is None  # both fall
    assert found(curve([5, 6, 7, 8], [6, 7, 6.95, 6.9])) is None  # within its noise
    assert found(curve([5, 6, 7, 8], [6.0, 7.0, 6.6, 6.3], half_width=1.0)) is None


def test_needs_three_points_with_intervals() -> None:
    assert "no budget curve" in reason(None)
    assert "no budget curve" in reason([])
    assert "2 points" in reason(curve([5, 8], [7, 5]))
    gone = curve([5, 6, 7, 8], [6, 7, 6.6, 6.3])
    for point in gone[:2]:
        point["reward_gold"] = {"value": 6.0, "low": None, "high": None}
    assert "2 points" in reason(gone)


def test_a_method_without_training_is_judged_by_its_curve_alone() -> None:
    points = curve([5.0, 6.0, 7.0, 8.0], [6.0, 7.0, 6.6, 6.3])
    best_of_n = dataclasses.replace(
        logs.policy(), log=[], metrics={"consumed": {"optimizer_steps": 0}}
    )
    assert diagnose(best_of_n).unchecked == []
    diagnosis = diagnose(dataclasses.replace(best_of_n, curve=points))
    assert [finding.rule for finding in diagnosis.findings] == ["overoptimised"]
    assert diagnosis.unchecked == []
