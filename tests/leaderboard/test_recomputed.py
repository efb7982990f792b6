"""Statistics of an entry, made again with fewer resamples than it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignbench.leaderboard import recomputed
from alignbench.leaderboard.entry import load
from tests.leaderboard.entries import EFFECTS, published

METHODS = {f"m{number}": 0.3 * number for number in range(10)}


def test_many_methods_at_high_confidence_are_no_forgery(tmp_path: Path) -> None:
    """45 pairs, each p at least 2 / 2001 here: after Holm's correction above 2 x 0.01."""
    recipe = {
        "evaluation": {
            "samples_per_prompt": 2,
            "temperature": 0.8,
            "top_p": 1.0,
            "seed": 1234,
            "resamples": 20_000,
            "confidence": 0.99,
            "diversity_samples": 10,
        }
    }
    effects = {"base": -3.0, "sft": -2.0, "sft_copy": -2.0, **METHODS}
    entry = load(published(tmp_path, effects=effects, recipe=recipe))
    tests = entry.statistics.between_methods
    assert sum(test.verdict != "not separable" for test in tests) > 10
    assert list(recomputed.disagreements(entry)) == []
    # And a lie is still one.
    at = max(range(len(tests)), key=lambda number: tests[number].p or 0.0)
    lie = [*tests[:at], tests[at].model_copy(update={"verdict": "better"}), *tests[at + 1 :]]
    statistics = entry.statistics.model_copy(update={"between_methods": lie})
    [told] = recomputed.disagreements(entry.model_copy(update={"statistics": statistics}))
    assert told.startswith(f'statistics.between_methods.{at}.verdict: is "better"')


def test_the_smallest_p_of_fewer_resamples_licenses_no_large_one_in_a_large_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = load(published(tmp_path, effects={**EFFECTS, "ppo": 0.0}))
    # No p below 1 / 3, and three rows: after Holm's correction every p is possible.
    monkeypatch.setattr(recomputed, "MOST_RESAMPLES", 5)
    tests = [
        test.model_copy(update={"verdict": "better"}) if test.model == "ppo" else test
        for test in entry.statistics.against_sft
    ]
    statistics = entry.statistics.model_copy(update={"against_sft": tests})
    told = list(recomputed.disagreements(entry.model_copy(update={"statistics": statistics})))
    wrong = [line for line in told if "observations give p" in line]
    assert wrong
    assert all(tests[int(line.split(".")[2])].model == "ppo" for line in wrong)
