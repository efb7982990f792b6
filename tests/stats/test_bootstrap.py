from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest

from alignbench.stats.bootstrap import (
    Bootstrap,
    Interval,
    mean,
    percentile_interval,
    perplexity,
)


def test_draws_are_the_multinomial_distribution_of_the_mean() -> None:
    # Prompts 0 and 1: the mean of two drawn is 0, 0.5, 1 with probability 1/4, 1/2, 1/4.
    draws = Bootstrap(2, 20_000, seed=0).means(np.array([[0.0, 1.0]]), stream=0)
    values, counts = np.unique(draws, return_counts=True)
    assert values.tolist() == [0.0, 0.5, 1.0]
    assert counts / 20_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.012)


def test_seeds_and_prompts_are_crossed() -> None:
    # Every draw is the mean over a drawn pair of seeds times a drawn pair of prompts, the seeds'
    # deviations widened by sqrt(2 / 1); probabilities are those of the 16 equally likely resamples.
    cells = np.array([[0.0, 1.0], [10.0, 100.0]])
    draws = Bootstrap(2, 40_000, seed=3).means(cells, stream=1)
    expected: dict[float, float] = {}
    for seeds in product(range(2), repeat=2):
        for prompts in product(range(2), repeat=2):
            per_seed = cells[:, prompts].mean(axis=1)
            widened = per_seed.mean() + (per_seed - per_seed.mean()) * 2**0.5
            # No mean of these cells is below 0 or above 100, so no draw is.
            value = round(float(np.clip(widened[list(seeds)].mean(), 0, 100)), 9)
            expected[value] = expected.get(value, 0.0) + 1 / 16
    values, counts = np.unique(np.round(draws, 9), return_counts=True)
    assert values.tolist() == pytest.approx(sorted(expected))
    assert counts / 40_000 == pytest.approx([expected[v] for v in sorted(expected)], abs=0.01)


def test_variance_over_seeds_is_that_of_a_mean_of_seeds() -> None:
    # Four seeds with sample variance 5/3 * 4 = 20/3 (values 0, 2, 4, 6): of their mean, 5/3.
    draws = Bootstrap(1, 60_000, seed=0).means(np.array([[0.0], [2.0], [4.0], [6.0]]), stream=0)
    assert draws.mean() == pytest.approx(3.0, abs=0.02)
    assert draws.var() == pytest.approx(5 / 3, rel=0.03)


def test_a_rate_stays_a_rate() -> None:
    cells = np.array([[0.0] * 50, [0.0] * 48 + [1.0] * 2])
    draws = Bootstrap(50, 2000, seed=0).means(cells, stream=0)
    assert draws.min() == 0.0


def test_one_seed_leaves_only_the_prompts() -> None:
    bootstrap = Bootstrap(3, 500, seed=0)
    one = bootstrap.means(np.array([[1.0, 2.0, 3.0]]), stream=0)
    twice = bootstrap.means(np.array([[1.0, 2.0, 3.0]] * 2), stream=5)
    assert one == pytest.approx(twice)


def test_rows_share_prompt_draws_so_differences_are_paired() -> None:
    bootstrap = Bootstrap(50, 300, seed=0)
    a = np.random.default_rng(0).normal(size=(1, 50))
    difference = bootstrap.means(a + 0.3, stream=1) - bootstrap.means(a, stream=0)
    assert difference == pytest.approx(np.full(300, 0.3))


def test_seed_draws_of_different_rows_are_independent() -> None:
    cells = np.array([[0.0], [1.0]])
    bootstrap = Bootstrap(1, 4000, seed=0)
    a, b = bootstrap.means(cells, stream=0), bootstrap.means(cells, stream=1)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.06
    assert bootstrap.means(cells, stream=0).tolist() == a.tolist()


def test_unknown_cells_are_left_out_not_zero() -> None:
    cells = np.array([[np.nan, 4.0, 8.0]])
    assert mean(cells) == 6.0
    draws = Bootstrap(3, 2000, seed=0).means(cells, stream=0)
    known = draws[np.isfinite(draws)]
    assert known.min() == 4.0
    assert known.max() == 8.0
    # A resample of three without an applicable prompt has probability 1/27.
    assert np.isnan(draws).mean() == pytest.approx(1 / 27, abs=0.015)
    assert mean(np.array([[np.nan, np.nan]])) is None


def test_deterministic_in_seed() -> None:
    cells = np.random.default_rng(1).normal(size=(2, 20))
    first, again = (Bootstrap(20, 100, seed=7).means(cells, 2) for _ in range(2))
    assert first.tolist() == again.tolist()
    assert first.tolist() != Bootstrap(20, 100, seed=8).means(cells, 2).tolist()


def test_percentile_bounds_by_hand() -> None:
    draws = np.arange(101.0)
    interval = percentile_interval(50.0, draws, 10, 0.9)
    assert (interval.low, interval.high) == pytest.approx((5.0, 95.0))
    assert percentile_interval(50.0, draws, 1, 0.9) == Interval(50.0, None, None)
    assert percentile_interval(None, draws, 10, 0.9) == Interval(None, None, None)


def test_excludes() -> None:
    assert Interval(1.0, 0.5, 1.5).excludes(0.4)
    assert not Interval(1.0, 0.5, 1.5).excludes(0.5)
    assert not Interval(1.0).excludes(99.0)


def test_perplexity_is_token_weighted_per_draw() -> None:
    nll = np.array([[np.log(2), 3 * np.log(8)]])
    tokens = np.array([[1.0, 3.0]])
    assert perplexity(nll, tokens) == pytest.approx(2**2.5)
    draws = Bootstrap(2, 5000, seed=0).perplexities(nll, tokens, stream=0)
    # Document 0 twice: 2; both: 2^2.5; document 1 twice: 8.
    assert np.unique(np.round(draws, 9)).tolist() == pytest.approx([2, 2**2.5, 8])


def test_interval_of_the_mean_covers() -> None:
    """95 % intervals over 60 prompts must hold the truth in about 95 % of worlds."""
    random = np.random.default_rng(0)
    bootstrap = Bootstrap(60, 400, seed=1)
    hits = 0
    for _ in range(400):
        cells = random.exponential(1.0, size=(1, 60))
        interval = percentile_interval(mean(cells), bootstrap.means(cells, 0), 60, 0.95)
        hits += not interval.excludes(1.0)
    assert 0.90 <= hits / 400 <= 0.98


def test_fast_enough_for_a_whole_table() -> None:
    random = np.random.default_rng(0)
    rows = [random.normal(size=(2, 200)) for _ in range(8)]
    start = time.perf_counter()
    bootstrap = Bootstrap(200, 2000, seed=0)
    for _ in range(17):
        for stream, cells in enumerate(rows):
            bootstrap.means(cells, stream)
    assert time.perf_counter() - start < 3.0
