"""How far two samples of seeds (and prompts) may lie apart by chance.

The null hypothesis is that nothing changed: the run's seeds and the baseline's are draws of one
experiment. So their variances are pooled, and with S and S' seeds the difference of their means has
S + S' - 2 degrees of freedom. That matters: a gate makes hundreds of comparisons, each at a level
of 1e-5 or so, and there Student's t is 9 standard errors with 8 degrees of freedom, 200 with 2.
Levels like these are beyond resampling, hence the closed form of the parts that `stats.draws` has:

    half-width = M * sqrt(V_seeds + V_prompts)

V_seeds = s^2 (1/S + 1/S'), V_prompts the variance over prompts of the paired difference, by their
number, M as in `stats.draws.multiplier`. What a seed does on one prompt only is in both parts,
which makes it a little wide.
"""

from __future__ import annotations

import math

import numpy as np

from alignbench.leaderboard.schema import Cell
from alignbench.stats.bootstrap import Floats
from alignbench.stats.draws import Seeds, multiplier

ROUNDING = 1e-12
"""Differences below this share of the numbers are those of floating-point means."""


def in_common(run: Floats, base: Floats) -> tuple[Floats, Floats, int]:
    """The prompts that every seed of both sides knows, and how many others some seed knows.

    Prompts are easy or hard: means over other prompts differ without any change.

    Args:
        run, base: (seeds, prompts), column j the same prompt, nan where unknown. A seed that knows
            nothing is left out, not its side.
    """
    known = [np.isfinite(cells) for cells in (run, base)]
    sides = [
        cells[is_known.any(axis=1)] for cells, is_known in zip((run, base), known, strict=True)
    ]
    anywhere = known[0].any(axis=0) | known[1].any(axis=0)
    everywhere = known[0].any(axis=0) & known[1].any(axis=0)
    for cells in sides:
        everywhere &= np.isfinite(cells).all(axis=0)
    dropped = int(anywhere.sum() - everywhere.sum())
    return sides[0][:, everywhere], sides[1][:, everywhere], dropped


def half_width(
    run: Floats, base: Floats, level: float, fixed: bool, noise: float = 0.0
) -> float | None:
    """Half of the interval of mean(run) - mean(base); None where it cannot be told.

    Args:
        run, base: (seeds, prompts), all known, column j the same prompt; one column: means of
            seeds.
        level: confidence, in (0, 1).
        fixed: the model has no seeds of its own (base, SFT): only prompts vary.
        noise: standard deviation between seeds, at least: that a few agree does not prove that
            there is none.

    Without any spread there is no interval, unless the means are equal: a few equal numbers on
    either side (rates of 0, say) do not make the next one certain.
    """
    with np.errstate(all="ignore"):
        seeds = [] if fixed else _seeds(run.mean(axis=1), base.mean(axis=1), noise)
        if seeds is None:
            return None
        variance = sum(each.full**2 for each in seeds)
        paired = run.mean(axis=0) - base.mean(axis=0)
        count = len(paired)
        prompts = float(paired.var(ddof=1)) / count if count > 1 else 0.0
        tiny = ROUNDING * max(np.abs(run).max(), np.abs(base).max())
        if math.sqrt(variance + prompts) <= tiny < abs(paired.mean()):
            return None
        if count == 1:
            return _by_seeds(seeds, level)
        times = float(multiplier(level, count, seeds, prompts))
        return _finite(times * math.sqrt(variance + prompts))


def _by_seeds(seeds: list[Seeds], level: float) -> float | None:
    from scipy.special import stdtrit

    if not seeds:
        return None
    return _finite(float(stdtrit(seeds[0].df, (1 + level) / 2)) * seeds[0].full)


def _seeds(run: Floats, base: Floats, noise: float) -> list[Seeds] | None:
    """The seeds' part of the difference, pooled; None for fewer than three seeds together."""
    df = len(run) + len(base) - 2
    if df < 1:
        return None
    squares = float(((run - run.mean()) ** 2).sum() + ((base - base.mean()) ** 2).sum())
    deviation = max(math.sqrt(squares / df), noise)
    return [Seeds(deviation * math.sqrt(1 / len(run) + 1 / len(base)), 0.0, df)]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def apart(run: Floats, base: Floats) -> bool:
    """Whether all seeds of the run lie on one side of all seeds of the baseline.

    Heavy tails (a gradient norm, say) make Student's t too sure; this asks nothing of the shape.
    """
    mine, theirs = run.mean(axis=1), base.mean(axis=1)
    return bool(mine.min() > theirs.max() or mine.max() < theirs.min())


def table_half(
    baseline: Cell, run: Cell, confidence: float, level: float, fixed: bool
) -> float | None:
    """Half-width from two intervals of tables, as if the two had nothing in common.

    Args:
        confidence: of the tables' intervals; with few seeds they are wide already, and the ratio
            of quantiles with all the seeds' degrees of freedom makes them no narrower.
        level, fixed: as in `half_width`. The interval of a single seed is of its prompts alone:
            of a row with seeds it tells nothing.
    """
    from scipy.special import stdtrit

    df = baseline.n_prompts - 1 if fixed else baseline.n_seeds + run.n_seeds - 2
    if baseline.low is None or baseline.high is None or run.low is None or run.high is None:
        return None
    if df < 1 or (not fixed and min(baseline.n_seeds, run.n_seeds) < 2):
        return None
    half = math.hypot(baseline.high - baseline.low, run.high - run.low) / 2
    if half == 0 and run.value != baseline.value:
        return None
    at_level, at_confidence = (float(stdtrit(df, (1 + each) / 2)) for each in (level, confidence))
    return _finite(half * at_level / at_confidence)
