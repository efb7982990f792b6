from __future__ import annotations

from typing import Any

import pytest

from alignbench.report.ranking import (
    choices_section,
    effect_section,
    ranking_section,
    stability_rows,
)
from tests.report.sections import ranked

MODELS = ["base", "sft", "reinforce", "ppo", "dpo"]


@pytest.fixture
def results() -> dict[str, Any]:
    return {**ranked(MODELS), "costs": {}}


def test_the_matrix_has_a_colour_and_is_bold_only_where_it_is_sure(results: dict[str, Any]) -> None:
    results["pairwise"]["wins"][0][1] = {"value": 60.0, "low": None, "high": None, "n": 1}
    section = ranking_section(results)
    assert section is not None
    base = section["lines"][0]["cells"]
    assert base[0]["value"] == "–"
    assert (base[1]["bounds"], base[1]["sure"]) == ("–", False)
    # 50 - 45 * 4 / 5 = 14 %, of which the colour is 36 % of 36 / 50.
    assert base[4] == {
        "value": "14",
        "bounds": "6 to 22",
        "side": "loses",
        "strength": 26,
        "sure": True,
    }


def test_the_strongest_comes_first_and_unknown_strengths_last(results: dict[str, Any]) -> None:
    results["pairwise"]["strengths"][4].update(value=None, low=None, high=None, elo=None)
    section = ranking_section(results)
    assert section is not None
    assert [line["model"] for line in section["strengths"]] == [
        "ppo",
        "reinforce",
        "sft",
        "base",
        "dpo",
    ]
    assert section["strengths"][-1]["value"] == section["strengths"][-1]["elo"] == "–"
    assert section["chart"] is not None


def test_groups_that_cannot_be_compared_are_told_apart(results: dict[str, Any]) -> None:
    results["pairwise"]["strengths"][0]["component"] = 1
    section = ranking_section(results)
    assert section is not None
    assert section["parts"]
    assert section["chart"] is None


def test_effect_stability_and_choices(results: dict[str, Any]) -> None:
    effect = effect_section(results)
    assert effect is not None
    assert effect["rows"][1] == {"model": "ppo", "value": "80 %", "bounds": "40 to 140"}
    results["stability"][0].update(seeds=1, std=None)
    assert stability_rows(results)[0] == {
        "model": "reinforce",
        "seeds": 1,
        "value": "–",
        "bounds": "–",
    }
    choices = choices_section(results)
    assert [choice["constraint"] for choice in choices][-1] == "quality"
    assert choices[-1]["answer"] == "–"


def test_results_of_before_have_none_of_it() -> None:
    old: dict[str, Any] = {"costs": {}}
    assert ranking_section(old) is effect_section(old) is None
    assert choices_section(old) == stability_rows(old) == []


def test_an_effect_without_reference_says_why(results: dict[str, Any]) -> None:
    results["effect"] = {"reference": "ppo", "rows": [], "reason": "PPO gained nothing."}
    section = effect_section(results)
    assert section is not None
    assert (section["reason"], section["rows"], section["chart"]) == (
        "PPO gained nothing.",
        [],
        None,
    )
