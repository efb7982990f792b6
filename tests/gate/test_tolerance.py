from __future__ import annotations

import pytest

from alignbench.errors import UserError
from alignbench.gate.tolerance import DEFAULTS, Tolerance, Tolerances
from alignbench.results.metrics import METRIC


def test_amounts_and_percents() -> None:
    known = Tolerances.parse(["reward_gold=0.5", "training=10%", "length=3"])
    assert known["reward_gold"] == Tolerance(0.5)
    assert known["training"].of(-40.0) == 4.0
    assert known["length"].of(1000.0) == 3.0
    assert known["win_rate_vs_sft"] == DEFAULTS["win_rate_vs_sft"]


def test_every_metric_has_one() -> None:
    assert all(Tolerances()[metric].amount > 0 for metric in METRIC)


def test_all_problems_are_told_at_once() -> None:
    given = ["rewrd_gold=1", "reward_gold=x", "honest=-1", "harmless=inf", "spent=3", "helpful"]
    with pytest.raises(UserError) as error:
        Tolerances.parse(given)
    text = str(error.value)
    assert 'no metric "rewrd_gold" (did you mean "reward_gold"?)' in text
    assert "--tolerance reward_gold=x: the amount must be a number of 0 or more" in text
    assert "--tolerance spent=3: spent has many units: give percent (3%)" in text
    assert len(error.value.problems) == len(given)
