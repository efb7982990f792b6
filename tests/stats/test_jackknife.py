from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from alignbench.metrics.diversity import Corpus
from alignbench.stats.jackknife import jackknife_interval


def mean_of(values: np.ndarray[Any, Any]) -> Any:
    """A statistic of prompts: the mean per seed, values of shape (seeds, prompts)."""
    return lambda keep: values[:, keep].mean(axis=1)


def test_delete_one_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.array([[0.1, 0.4, 0.2, 0.7, 0.6]])
    interval = jackknife_interval(mean_of(values), 5, 0.95, seed=0, groups=5)
    half = t.ppf(0.975, 4) * values.std(ddof=1) / 5**0.5
    assert interval.value == pytest.approx(0.4)
    assert interval.high == pytest.approx(0.4 + half)
    assert interval.low == pytest.approx(max(0.0, 0.4 - half))


def test_seed_variance_is_added() -> None:
    # No variance over prompts; seed means 0.4 and 0.6: variance 0.02 / 2 = 0.01.
    values = np.array([[0.4] * 6, [0.6] * 6])
    interval = jackknife_interval(mean_of(values), 6, 0.95, seed=0, groups=6)
    assert interval.value == pytest.approx(0.5)
    assert interval.high == pytest.approx(0.5 + t.ppf(0.975, 5) * 0.1)


def test_grouped_replicates_delete_every_prompt_once() -> None:
    deleted = np.zeros(50, dtype=int)

    def statistic(keep: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        deleted[~keep] += 1
        return np.array([0.5])

    jackknife_interval(statistic, 50, 0.95, seed=0, groups=7)
    assert deleted.tolist() == [1] * 50


def test_too_little_to_estimate() -> None:
    values = np.array([[0.5]])
    interval = jackknife_interval(mean_of(values), 1, 0.95, seed=0)
    assert (interval.value, interval.low, interval.high) == (0.5, None, None)
    nothing = jackknife_interval(lambda keep: np.array([np.nan]), 9, 0.95, seed=0)
    assert nothing.value is None


@pytest.mark.parametrize("name", ["distinct_2", "self_bleu"])
def test_interval_covers_the_expected_diversity(name: str) -> None:
    """Small simulation: two answers each to 40 prompts drawn from a skewed population.

    The truth is the mean of the statistic over many such sets. A bootstrap of prompts fails here
    (every resample of Self-BLEU lies above it); the jackknife must cover in about 95 %.
    """
    random = np.random.default_rng(0)
    words = 1 / np.arange(1, 81)
    words /= words.sum()

    def corpus() -> Corpus:
        texts = []
        for _ in range(40):
            template = random.choice(80, 8, p=words)
            for _ in range(2):
                swap = random.random(8) < 0.3
                texts.append(np.where(swap, random.choice(80, 8, p=words), template).tolist())
        return Corpus(texts, 3)

    def value(made: Corpus, keep: Any = None) -> float:
        if name == "self_bleu":
            return made.self_bleu(3, keep)
        return made.distinct(2, keep)

    truth = np.mean([value(corpus()) for _ in range(150)])
    hits = 0
    for number in range(100):
        made = corpus()
        interval = jackknife_interval(
            lambda keep, made=made: np.array([value(made, np.repeat(keep, 2))]),
            40,
            0.95,
            seed=number,
            groups=20,
        )
        hits += not interval.excludes(float(truth))
    assert 88 <= hits <= 100
