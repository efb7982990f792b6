from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from alignbench.gate.noise import apart, half_width, in_common, table_half
from alignbench.leaderboard.schema import Cell


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def test_seeds_alone_give_students_pooled_interval() -> None:
    run, base = column(1.0, 1.2), column(0.9, 1.1, 1.3, 0.7, 1.0)
    expected = stats.ttest_ind(run[:, 0], base[:, 0]).confidence_interval(0.999)
    half = half_width(run, base, 0.999, fixed=False)
    assert half is not None
    assert half == pytest.approx((expected.high - expected.low) / 2)


def test_one_seed_each_tells_nothing_of_seeds() -> None:
    assert half_width(column(1.0), column(2.0), 0.95, fixed=False) is None


def test_a_model_without_seeds_has_the_paired_interval_of_its_prompts() -> None:
    draw = np.random.default_rng(1)
    base = draw.normal(0, 5, (1, 30))
    run = base + draw.normal(0.1, 0.2, (1, 30))
    paired = stats.ttest_rel(run[0], base[0]).confidence_interval(0.99)
    half = half_width(run, base, 0.99, fixed=True)
    assert half == pytest.approx((paired.high - paired.low) / 2, rel=1e-6)


def test_prompts_and_seeds_add_up() -> None:
    draw = np.random.default_rng(2)
    base, run = draw.normal(0, 1, (4, 20)), draw.normal(0, 1, (2, 20))
    whole = half_width(run, base, 0.95, fixed=False)
    only_prompts = half_width(run, base, 0.95, fixed=True)
    assert whole is not None
    assert only_prompts is not None
    assert whole > only_prompts


def test_only_prompts_that_all_seeds_of_both_know_count() -> None:
    nan = np.nan
    run = np.array([[1.0, nan, 3.0, 4.0, nan], [1.0, 2.0, 3.0, 4.0, nan]])
    base = np.array([[5.0, 6.0, nan, 8.0, nan], [nan] * 5])
    mine, theirs, dropped = in_common(run, base)
    assert mine.tolist() == [[1, 4], [1, 4]]
    assert theirs.tolist() == [[5, 8]]  # a seed that knows nothing is left out
    assert dropped == 2  # not the prompt that nobody knows
    nothing, _, dropped = in_common(np.full((2, 5), nan), base)
    assert (nothing.shape, dropped) == ((0, 0), 3)


@pytest.mark.parametrize("shape", [(2, 1), (2, 12)])
def test_no_spread_at_all_is_no_certainty(shape: tuple[int, int]) -> None:
    for value in (0.0, 0.1):  # means of 0.1 are rounded
        base = np.full((7, shape[1]), value)
        assert half_width(np.full(shape, 1.1), base, 0.99, fixed=False) is None
        equal = half_width(np.full(shape, value), base, 0.99, fixed=False)
        assert equal == pytest.approx(0, abs=1e-9)


def test_equal_seeds_do_not_prove_that_there_is_no_noise() -> None:
    half = half_width(column(4, 4), column(4, 4, 4, 4), 0.95, fixed=False, noise=0.5)
    assert half == pytest.approx(stats.t.ppf(0.975, 4) * 0.5 * math.sqrt(1 / 2 + 1 / 4))


def test_huge_numbers_are_unknown_and_no_crash() -> None:
    assert half_width(column(1e300, -1e300), column(1e300, 0, 1), 0.95, fixed=False) is None


def test_apart() -> None:
    assert apart(column(3, 4), column(1, 2))
    assert not apart(column(1.5, 4), column(1, 2))


def test_table_intervals_widen_with_the_level() -> None:
    cell = Cell(
        model="ppo", metric="distinct_1", value=1.0, low=0.8, high=1.2, n_seeds=2, n_prompts=40
    )
    same = table_half(cell, cell, 0.95, 0.95, fixed=True)
    assert same == pytest.approx(0.2 * math.sqrt(2))
    wider = table_half(cell, cell, 0.95, 0.9999, fixed=False)
    assert wider == pytest.approx(
        0.2 * math.sqrt(2) * stats.t.ppf(0.99995, 2) / stats.t.ppf(0.975, 2)
    )
    unknown = cell.model_copy(update={"low": None, "high": None})
    assert table_half(cell, unknown, 0.95, 0.95, fixed=True) is None
    single = cell.model_copy(update={"n_seeds": 1})
    many = cell.model_copy(update={"n_seeds": 8})
    assert table_half(single, many, 0.95, 0.99, fixed=False) is None
    assert table_half(many, single, 0.95, 0.99, fixed=False) is None
    assert table_half(single, single, 0.95, 0.99, fixed=True) is not None
    point = cell.model_copy(update={"low": 1.0, "high": 1.0})
    other = cell.model_copy(update={"value": 2.0, "low": 2.0, "high": 2.0})
    assert table_half(point, other, 0.95, 0.99, fixed=True) is None
    assert table_half(point, point, 0.95, 0.99, fixed=True) == 0
