"""How much a method's result depends on its training seed, and how it compares with PPO's gain."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alignbench.results.estimates import Estimates
from alignbench.results.observations import Row
from alignbench.stats.bootstrap import Floats, Interval, percentile_interval

Record = dict[str, Any]
METRIC = "reward_gold"
REFERENCE = "ppo"
"""Methods' gains are told in percent of this row's."""
_STEPS = 60


def stability_record(rows: Sequence[Row], confidence: float) -> list[Record]:
    """``stability`` of results.json: spread of mean gold reward over training seeds.

    The standard deviation (n - 1) of the seeds' means, which holds what the sampling of the answers
    adds too. Bounds are those of chi-square, exact where seeds' means are normal: at 95 % they are
    0.52 and 6.3 times the value with three seeds, 0.60 and 2.9 times with five.

    Args:
        rows: of the methods.
        confidence: of the bounds.

    Returns:
        ``{"model", "seeds", "std", "low", "high"}`` each, in the unit of gold reward; `std` None
        below two seeds or where one knows nothing, bounds also where all seeds are equal.
    """
    found = []
    for row in rows:
        means = seed_means(row)
        spread = Interval(None)
        if len(means) > 1 and np.isfinite(means).all():
            spread = spread_interval(float(means.std(ddof=1)), len(means), confidence)
        bounds = {"std": spread.value, "low": spread.low, "high": spread.high}
        found.append({"model": row.name, "seeds": len(row.seeds), **bounds})
    return found


def seed_means(row: Row) -> Floats:
    """Mean gold reward of each seed over its prompts, shape (seeds,); nan where unknown."""
    cells = row.cells.get(METRIC, np.full((len(row.seeds), 1), np.nan))
    known = np.isfinite(cells)
    total, count = np.where(known, cells, 0.0).sum(axis=1), known.sum(axis=1)
    means: Floats = np.full(len(cells), np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def spread_interval(std: float, seeds: int, confidence: float) -> Interval:
    """The standard deviation of `seeds` normal values with bounds by chi-square."""
    from scipy.stats import chi2

    tail = (1 - confidence) / 2
    if std == 0:
        return Interval(std)
    low, high = (
        std * math.sqrt((seeds - 1) / float(chi2.ppf(share, seeds - 1)))
        for share in (1 - tail, tail)
    )
    return Interval(std, low, high)


def effect_record(estimates: Estimates, methods: Sequence[str]) -> Record | None:
    """``effect`` of results.json: gains over SFT in gold reward, in percent of PPO's.

    A ratio of two uncertain numbers: its bounds are the ratios r for which
    (method - SFT) - r (PPO - SFT), paired by prompt, cannot be told from 0 (Fieller 1954, by the
    bootstrap's draws). They exist where PPO's gain is separable from 0, and nothing is said where
    it is not.

    Args:
        estimates: of the table.
        methods: rows that compete.

    Returns:
        None without a row ``ppo``; else ``{"reference", "rows": [{"model", "value", "low",
        "high"}]}``, and "reason" where there are no rows.
    """
    if REFERENCE not in methods or "sft" not in estimates.rows or not estimates.has(METRIC):
        return None
    gain, _ = estimates.difference(METRIC, REFERENCE, "sft")
    if gain.value is None or gain.value <= 0 or not gain.excludes(0.0):
        reason = f"{REFERENCE}'s gain over sft in gold reward is not separable from 0"
        if gain.value is not None and gain.value < 0 and gain.excludes(0.0):
            reason = f"{REFERENCE} has no gain over sft in gold reward: it is worse"
        return {"reference": REFERENCE, "rows": [], "reason": f"{reason}; no share of it is told"}
    rows = [{"model": method, **vars(_share(estimates, method))} for method in methods]
    return {"reference": REFERENCE, "rows": rows}


def _share(estimates: Estimates, method: str) -> Interval:
    own, reference, sft = (estimates[row, METRIC] for row in (method, REFERENCE, "sft"))
    if own.interval.value is None or reference.interval.value is None or sft.interval.value is None:
        return Interval(None)
    gain = reference.interval.value - sft.interval.value
    value = (own.interval.value - sft.interval.value) / gain
    if method == REFERENCE:
        return Interval(100.0)  # itself: nothing is uncertain
    units = min(own.n_units, reference.n_units, sft.n_units)
    draws = {row: estimates.draws(row, METRIC) for row in (method, REFERENCE, "sft")}

    def rest(ratio: float) -> Interval:
        gained = draws[method] - draws["sft"]
        expected = ratio * (draws[REFERENCE] - draws["sft"])
        left = (value - ratio) * gain
        return percentile_interval(left, gained - expected, units, estimates.confidence)

    low, high = _edge(rest, value, -1), _edge(rest, value, 1)
    if low is None or high is None:
        return Interval(100 * value)
    return Interval(100 * value, 100 * low, 100 * high)


def _edge(rest: Callable[[float], Interval], value: float, side: int) -> float | None:
    """The ratio farthest from `value` on one side whose `rest` has 0 within its bounds."""
    step, inside = 0.125, value
    while not rest(value + side * step).excludes(0.0):
        inside, step = value + side * step, 2 * step
        if step > 1e6 or rest(inside).low is None:
            return None
    outside = value + side * step
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        if rest(middle).excludes(0.0):
            outside = middle
        else:
            inside = middle
        if abs(outside - inside) < 1e-6 * max(1.0, abs(value)):
            break
    return inside
