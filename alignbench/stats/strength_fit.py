"""Fitting Bradley-Terry strengths to many tables of wins at once (`stats.strengths` says what).

A table is k x k, [i, j] = times i beat j, halves allowed. Nothing here checks its input.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alignbench.stats.bootstrap import Floats

Bools = NDArray[np.bool_]
Components = tuple[tuple[int, ...], ...]

#: Cells of the tables that are fitted at once.
CHUNK = 2_000_000


def _reach(games: Floats) -> Bools:
    """Whether j can be reached from i along wins; games (resamples, k, k)."""
    k = games.shape[1]
    reach = ((games > 0) | np.eye(k, dtype=np.bool_)).astype(np.float32)
    for _ in range(max(1, int(np.ceil(np.log2(k))))):
        reach = ((reach @ reach) > 0).astype(np.float32)
    return reach > 0


def connected(total: Floats) -> Components:
    """Strongly connected groups of players along wins; total (k, k)."""
    reach = _reach(total[None])[0]
    both = reach & reach.T
    return tuple(dict.fromkeys(tuple(np.flatnonzero(row).tolist()) for row in both))


def maximise(games: Floats) -> Floats:
    """Centred log-strengths by Newton's method.

    Args:
        games: wins, shape (tables, k, k). Players without games keep 0 and do not disturb.

    Returns:
        Shape (tables, k); meaningful where those who play are strongly connected.
    """
    tables, k, _ = games.shape
    played = games + games.transpose(0, 2, 1)
    active = played.sum(axis=2) > 0
    together = active[:, :, None] & active[:, None, :]
    s = np.zeros((tables, k))
    for _ in range(200):
        p = 1 / (1 + np.exp(s[:, None, :] - s[:, :, None]))
        gradient = (games - played * p).sum(axis=2)
        inner = played * p * (1 - p)
        # The Laplacian does not see a common shift: its null vector is filled in.
        hessian = np.where(together, inner.mean(axis=(1, 2))[:, None, None], 0.0) - inner
        diagonal = np.arange(k)
        hessian[:, diagonal, diagonal] += np.where(active, inner.sum(axis=2), 1.0)
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        s = s + np.clip(step, -1.0, 1.0)
        if np.abs(step).max(initial=0.0) < 1e-10:
            break
    count = np.maximum(active.sum(axis=1, keepdims=True), 1)
    return np.where(active, s - (s * active).sum(axis=1, keepdims=True) / count, 0.0)


def refitted(games: Floats, centre: Floats) -> Floats:
    """Strengths in resamples, shape (resamples, k); infinite where they are.

    A resample's largest strongly connected group is estimated and put where `centre` has that
    group on average; players that beat it without losing to it are at plus infinity, the others
    outside it at minus infinity, and at nan where they neither won nor lost against it.

    Args:
        games: wins in each resample, shape (resamples, k, k).
        centre: strengths from all comparisons, shape (k,).
    """
    resamples = len(games)
    reach = _reach(games)
    both = reach & reach.transpose(0, 2, 1)
    rows = np.arange(resamples)
    leader = both.sum(axis=2).argmax(axis=1)
    main = both[rows, leader]
    strengths = maximise(np.where(main[:, :, None] & main[:, None, :], games, 0.0))
    size = main.sum(axis=1)
    strengths += ((centre * main).sum(axis=1) / size)[:, None]
    above, below = reach[rows, :, leader], reach[rows, leader]
    outside = np.where(above, np.inf, np.where(below, -np.inf, np.nan))
    result: Floats = np.where(main & (size[:, None] > 1), strengths, outside)
    result[size == 1] = np.nan
    return result


def chunks(resamples: int, k: int) -> list[int]:
    """Sizes of the parts in which resamples are fitted: of many players, all take gigabytes."""
    step = max(1, CHUNK // (k * k))
    return [min(step, resamples - at) for at in range(0, resamples, step)]


def open_bounds(draws: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Percentile bounds; a nan draw could be anything and widens both; infinite ones are nan."""
    tail = (1 - confidence) / 2
    least = np.where(np.isnan(draws), -np.inf, draws)
    most = np.where(np.isnan(draws), np.inf, draws)
    low = np.quantile(least, tail, axis=0, method="lower")
    high = np.quantile(most, 1 - tail, axis=0, method="higher")
    return np.where(np.isfinite(low), low, np.nan), np.where(np.isfinite(high), high, np.nan)
