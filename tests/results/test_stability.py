from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from alignbench.results.estimates import Estimates
from alignbench.results.observations import Row
from alignbench.results.stability import effect_record, spread_interval, stability_record


def row(name: str, gold: Any) -> Row:
    """A row with these cells of gold reward, shape (seeds, prompts)."""
    cells = np.array(gold, dtype=float)
    texts = [[(0, "a b c d")] for _ in cells]
    return Row(name, tuple(range(len(cells))), {"reward_gold": cells}, {}, texts, [])


def test_spread_over_seeds_by_hand() -> None:
    # Means 1, 2 and 6: their variance is ((-2)^2 + (-1)^2 + 3^2) / 2 = 7.
    [found] = stability_record([row("ppo", [[0, 2], [1, 3], [6, np.nan]])], 0.95)
    assert (found["model"], found["seeds"]) == ("ppo", 3)
    assert found["std"] == pytest.approx(7**0.5)
    assert found["low"] == pytest.approx((14 / chi2.ppf(0.975, 2)) ** 0.5)
    assert found["high"] == pytest.approx((14 / chi2.ppf(0.025, 2)) ** 0.5)


def test_bounds_of_a_spread_cover() -> None:
    random = np.random.default_rng(0)
    hits = []
    for sample in random.normal(0, 2.0, (3000, 4)):
        found = spread_interval(float(sample.std(ddof=1)), 4, 0.9)
        hits.append((found.low or 0) <= 2.0 <= (found.high or 0))
    assert np.mean(hits) == pytest.approx(0.9, abs=0.02)


def test_what_no_seeds_can_tell_is_unknown() -> None:
    alone, alike, unknown = stability_record(
        [
            row("a", [[1.0, 2.0]]),
            row("b", [[1.0, 2.0], [2.0, 1.0]]),
            row("c", [[1.0, 2.0], [np.nan, np.nan]]),
        ],
        0.95,
    )
    assert (alone["seeds"], alone["std"], alone["low"], alone["high"]) == (1, None, None, None)
    assert (alike["std"], alike["low"], alike["high"]) == (0.0, None, None)
    assert (unknown["std"], unknown["low"], unknown["high"]) == (None, None, None)


def table(gains: dict[str, float], noise: float = 0.5, seeds: int = 3) -> Estimates:
    """Gold reward of 60 prompts: the prompt's own part, the row's gain, and noise."""
    random = np.random.default_rng(4)
    part = random.normal(0, 2, 60)
    rows = [
        row(name, part + gain + random.normal(0, noise, (1 if name == "sft" else seeds, 60)))
        for name, gain in {"sft": 0.0, **gains}.items()
    ]
    return Estimates(rows, 1000, 0.95, 0)


def test_gains_in_percent_of_ppos() -> None:
    estimates = table({"ppo": 2.0, "dpo": 1.0, "kto": -0.5})
    found = effect_record(estimates, ["ppo", "dpo", "kto"])
    assert found is not None
    shares = {line["model"]: line for line in found["rows"]}
    assert found["reference"] == "ppo"
    assert shares["ppo"] == {"model": "ppo", "value": 100.0, "low": None, "high": None}
    gold = {name: estimates[name, "reward_gold"].interval.value or 0.0 for name in ("ppo", "dpo")}
    sft = estimates["sft", "reward_gold"].interval.value or 0.0
    expected = 100 * (gold["dpo"] - sft) / (gold["ppo"] - sft)
    assert shares["dpo"]["value"] == pytest.approx(expected)
    assert shares["dpo"]["low"] < 50 < shares["dpo"]["high"]
    # Paired: the prompts' own part, four times the noise, cancels.
    assert shares["dpo"]["high"] - shares["dpo"]["low"] < 40
    assert shares["kto"]["high"] < 0


def test_the_bounds_are_where_the_difference_is_just_not_separable() -> None:
    estimates = table({"ppo": 2.0, "dpo": 1.0})
    found = effect_record(estimates, ["ppo", "dpo"])
    assert found is not None
    [line] = [line for line in found["rows"] if line["model"] == "dpo"]
    sft = estimates.draws("sft", "reward_gold")
    for end, side in ((line["low"] / 100, 0.025), (line["high"] / 100, 0.975)):
        rest = (estimates.draws("dpo", "reward_gold") - sft) - end * (
            estimates.draws("ppo", "reward_gold") - sft
        )
        # Few seeds widen the bounds, so that fewer of the plain draws lie beyond.
        beyond = float(np.mean(np.asarray(rest) < 0))
        assert abs(beyond - 0.5) > abs(side - 0.5) - 0.01


@pytest.mark.parametrize(
    ("gain", "reason"), [(0.02, "not separable from 0"), (-2.0, "has no gain over sft")]
)
def test_no_share_of_a_gain_that_is_none(gain: float, reason: str) -> None:
    found = effect_record(table({"ppo": gain, "dpo": 1.0}), ["ppo", "dpo"])
    assert found is not None
    assert found["rows"] == []
    assert reason in found["reason"]


def test_no_reference_no_record() -> None:
    assert effect_record(table({"dpo": 1.0}), ["dpo"]) is None


def test_with_two_seeds_the_bounds_are_wide_and_hold_the_value() -> None:
    found = effect_record(table({"ppo": 2.0, "dpo": 1.0}, noise=0.2, seeds=2), ["ppo", "dpo"])
    assert found is not None
    for line in found["rows"]:
        if line["low"] is not None:
            assert line["low"] < line["value"] < line["high"]


def test_records_of_a_run(tmp_path: Path) -> None:
    from alignbench.results import load
    from alignbench.stages.results import run
    from tests.fake_run import FakeRun

    effects = {"base": -1.5, "sft": 0.0, "sft_copy": 0.0, "ppo": 1.5, "dpo": 1.2}
    fake = FakeRun(tmp_path / "in", effects, seeds=3)
    run(fake.context(tmp_path / "out"))
    results = load(tmp_path / "out" / "results.json")
    assert [line["model"] for line in results["stability"]] == ["ppo", "dpo"]
    expected = np.std([fake.scores["ppo", s].mean() for s in range(3)], ddof=1)
    assert results["stability"][0]["std"] == pytest.approx(expected)
    assert [line["model"] for line in results["effect"]["rows"]] == ["ppo", "dpo"]
