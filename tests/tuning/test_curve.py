from __future__ import annotations

import itertools
from statistics import fmean

import pytest

from alignbench.tuning.curve import expected_best, running_best


def test_hand_derivation() -> None:
    # 1, 2, 3 with k = 2: of nine ordered draws one has maximum 1, three have 2, five have 3.
    # k = 3: of 27, one has 1, seven have 2, nineteen have 3.
    assert expected_best([3.0, 1.0, 2.0]) == pytest.approx([2.0, 22 / 9, 72 / 27])


def test_equals_the_mean_over_all_draws() -> None:
    values = [0.5, 4.0, 4.0, -1.0]
    for k, expected in enumerate(expected_best(values), start=1):
        draws = itertools.product(values, repeat=k)
        assert expected == pytest.approx(fmean(max(draw) for draw in draws))


def test_equal_values_and_a_single_one() -> None:
    assert expected_best([2.5] * 4) == pytest.approx([2.5] * 4)
    assert expected_best([7.0]) == [7.0]
    assert expected_best([]) == running_best([]) == []


def test_running_best_follows_the_order() -> None:
    assert running_best([2.0, 1.0, 3.0, 2.5]) == [2.0, 2.0, 3.0, 3.0]
