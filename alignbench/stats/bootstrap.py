"""Hierarchical bootstrap over training seeds and prompts, vectorised.

One row of the table is a matrix of cells, seeds x prompts; a cell is the mean over the samples of
that prompt. Seeds and prompts are crossed (every seed answers the same prompts), so one resample
draws seeds with replacement, draws prompts with replacement, and averages the cells of all drawn
pairs. Intervals are percentile intervals (Efron and Tibshirani 1993, chapter 13).

Rows share their prompt draws. The difference of two rows' draws is therefore the draw of their
paired difference. Seed draws are independent between rows: seed 0 of one method has nothing to do
with seed 0 of another.

What an interval covers: with one training seed only the prompts (and the samples drawn for them)
vary, so it is conditional on that checkpoint. With two seeds the seed part is the least that can
be estimated; the percentile bootstrap understates it by a factor (S - 1) / S in variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A point estimate and the bounds of its interval; None = cannot be estimated."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def excludes(self, threshold: float) -> bool:
        """Whether `threshold` lies outside the bounds; False without bounds."""
        if self.low is None or self.high is None:
            return False
        return not self.low <= threshold <= self.high


class Bootstrap:
    """Resamples of `n_units` prompts (or documents), shared by every row scored on them.

    Args:
        n_units: number of prompts or documents.
        resamples: number of bootstrap resamples B.
        seed: the same seed gives the same draws.
    """

    def __init__(self, n_units: int, resamples: int, seed: int) -> None:
        self.n_units = n_units
        self.resamples = resamples
        self._seed = seed
        draws = np.random.default_rng([seed, 0]).multinomial(
            n_units, np.full(n_units, 1 / n_units), size=resamples
        )
        self._weights: Floats = draws.astype(np.float64)

    def means(self, cells: Floats, stream: int) -> Floats:
        """Draws of the mean over seeds and prompts.

        Args:
            cells: shape (seeds, prompts); nan = not applicable to that prompt.
            stream: number of the row; rows of one table have different streams, so that their
                seeds are resampled independently of each other.

        Returns:
            Shape (resamples,); nan where a resample holds no applicable prompt.
        """
        known = np.isfinite(cells)
        draws = self._over_seeds(
            self.ratios(np.where(known, cells, 0.0), known.astype(np.float64)), stream
        )
        # Widened seeds can leave the range that a mean of these values has (a rate below 0).
        return np.clip(draws, cells[known].min(), cells[known].max()) if known.any() else draws

    def perplexities(self, nll: Floats, tokens: Floats, stream: int) -> Floats:
        """Draws of the mean over seeds of exp(sum nll / sum tokens); inputs (seeds, documents)."""
        return self._over_seeds(np.exp(self.ratios(nll, tokens)), stream)

    def ratios(self, numerator: Floats, denominator: Floats) -> Floats:
        """Per resample and seed, sum(numerator) / sum(denominator); shape (resamples, seeds)."""
        below = self._weights @ denominator.T
        above = self._weights @ numerator.T
        result: Floats = np.full_like(above, np.nan)
        np.divide(above, below, out=result, where=below > 0)
        return result

    def _over_seeds(self, per_seed: Floats, stream: int) -> Floats:
        seeds = per_seed.shape[1]
        if seeds == 1:
            return per_seed[:, 0]
        draws = np.random.default_rng([self._seed, 1, stream]).multinomial(
            seeds, np.full(seeds, 1 / seeds), size=self.resamples
        )
        # The bootstrap of S values has (S - 1) / S of their variance: a half with two seeds. The
        # deviations between seeds are widened to make up for it.
        centre = per_seed.mean(axis=1, keepdims=True)
        widened = centre + (per_seed - centre) * np.sqrt(seeds / (seeds - 1))
        result: Floats = (widened * (draws / seeds)).sum(axis=1)
        return result


def mean(cells: Floats) -> float | None:
    """Mean over seeds of the mean over applicable prompts; None when nothing is known."""
    known = np.isfinite(cells)
    counts = known.sum(axis=1)
    if not counts.all() or not counts.size:
        return None
    return float((np.where(known, cells, 0.0).sum(axis=1) / counts).mean())


def perplexity(nll: Floats, tokens: Floats) -> float | None:
    """Mean over seeds of exp(sum nll / sum tokens) over documents; inputs (seeds, documents)."""
    if not (tokens.sum(axis=1) > 0).all() or not tokens.size:
        return None
    return float(np.exp(nll.sum(axis=1) / tokens.sum(axis=1)).mean())


def percentile_interval(
    value: float | None, draws: Floats, n_units: int, confidence: float
) -> Interval:
    """The value with the percentile bounds of its draws.

    No bounds for fewer than two units, nor where all draws are equal: units that do not differ
    (0 refusals in 200 answers, say) tell a bootstrap nothing about its uncertainty, and a width of
    0 would claim that there is none.
    """
    known = draws[np.isfinite(draws)]
    if value is None or n_units < 2 or not len(known):
        return Interval(value)
    tail = (1 - confidence) / 2
    if np.ptp(known) <= 1e-12 * max(1.0, abs(value)):
        return Interval(value)
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(value, float(low), float(high))
