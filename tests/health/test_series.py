from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from alignbench.health.series import Change, NotCheckedError, Series, Window


def series(values: list[float]) -> Series:
    return Series.of([{"step": 10 * i, "x": v} for i, v in enumerate(values, 1)], "x", least=1)


def test_reads_what_is_there_and_finite() -> None:
    log = [
        {"step": 5, "x": 1.0},
        {"step": 6, "y": 2.0},
        {"step": 7, "x": math.nan},
        {"x": 3},
        {"step": 9, "x": "text"},
    ]
    found = Series.of(log, "x", least=2)
    assert found.values.tolist() == [1.0, 3.0]
    assert found.steps.tolist() == [5, 4]  # a line without a step has its place


def test_an_absent_and_a_short_quantity_are_told_apart() -> None:
    log = [{"step": i, "x": 1.0} for i in range(14)]
    with pytest.raises(NotCheckedError, match="the log has no y"):
        Series.of(log, "y")
    with pytest.raises(NotCheckedError, match="14 values of x, at least 15"):
        Series.of(log, "x")
    assert len(Series.of([*log, {"step": 14, "x": 2.0}], "x").values) == 15


def test_thirds_by_hand() -> None:
    # Successive differences 2, -4, 2 in the first third: mean square 8, noise 2, error 2 / sqrt(4).
    # In the others 0: they take the median of 2, 4, 2, 8, 0, 0, 0, 10, 0, 0, 0 over 0.954, 0.
    values = [0.0, 2.0, -2.0, 0.0, *[8.0] * 4, *[18.0] * 4]
    first, middle, last = series(values).thirds()
    assert (first.mean, middle.mean, last.mean) == (0.0, 8.0, 18.0)
    assert (first.error, middle.error, last.error) == (1.0, 0.0, 0.0)
    assert [(w.first, w.last) for w in (first, middle, last)] == [(10, 40), (50, 80), (90, 120)]
    assert (first.low, first.high) == (-3.0, 3.0)


def test_a_quiet_third_of_a_noisy_log_has_the_noise_of_the_log() -> None:
    values = [0.0, 1.0] * 4 + [0.5] * 4
    assert series(values).thirds()[2].error == pytest.approx(1 / 0.954 / 2)


def test_all_values_are_in_one_third() -> None:
    for count in range(15, 31):
        windows = series([float(i) for i in range(count)]).thirds()
        assert windows[0].first == 10
        assert windows[2].last == 10 * count
        assert [b.first - a.last for a, b in itertools.pairwise(windows)] == [10, 10]


def test_a_trend_is_not_noise() -> None:
    window = series([0.1 * i for i in range(30)]).thirds()[0]
    assert window.error < 0.04  # their standard deviation would give 0.096


def test_the_error_covers_the_mean_of_noise() -> None:
    generator = np.random.default_rng(0)
    misses = 0
    for _ in range(300):
        low = series(generator.standard_normal(60).tolist()).thirds()[1]
        misses += abs(low.mean) > 3 * low.error
    assert misses <= 6  # 0.27 % if the error were known; of 20 values it is estimated


def test_start_has_the_error_of_typical_values() -> None:
    values = [5.0, 1.0] + [0.5 * (-1) ** i for i in range(60)]  # steps of 1: sigma 1 / 0.954
    start = series(values).start()
    assert (start.mean, start.first, start.last) == (3.0, 10, 20)
    assert start.error == pytest.approx(1 / 0.954 / math.sqrt(2))


def test_change_adds_errors_in_quadrature() -> None:
    change = Change.between(Window(1.0, 3.0, 1, 2), Window(5.0, 4.0, 3, 4))
    assert (change.value, change.error) == (4.0, 5.0)
    assert (change.low, change.high) == (-11.0, 19.0)


def test_evidence_names_steps() -> None:
    found = Window(1.5, 0.25, 3, 9).evidence("kl")
    assert found == {"kl": 1.5, "kl_error": 0.25, "kl_steps": [3, 9]}
