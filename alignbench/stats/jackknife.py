"""Intervals for statistics of a whole set of texts (Distinct-N, Self-BLEU).

A bootstrap does not work here: a resample contains some prompts twice, and a duplicate text is a
perfect match for itself, which inflates Self-BLEU and deflates Distinct-N in every resample (in
the simulation of this module's test, none of its 95 % intervals covered, and 95-99 % of these). The
delete-a-group jackknife removes prompts instead of repeating them: the prompts are dealt at random
into G groups, the statistic is recomputed without each group, and

    variance over prompts = (G - 1) / G * sum_g (theta_(-g) - mean of theta_(-g))^2

(Kott 2001, "The delete-a-group jackknife", Journal of Official Statistics 17; the grouped form of
Shao and Wu 1989). Centring on the mean of the replicates, not on the full estimate, keeps out the
shift that both statistics show when the set gets smaller. All samples of a prompt are deleted
together, in all seeds at once. With S > 1 training seeds, the variance of their mean (s^2 / S) is
added. The bounds are value +- t * sqrt(variance) with G - 1 degrees of freedom, which for the seed
part shares the bootstrap's known optimism about few seeds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from alignbench.stats.bootstrap import Interval

#: Groups of prompts; the interval's t has one degree of freedom less.
GROUPS = 40


def jackknife_interval(
    statistic: Callable[[NDArray[np.bool_]], NDArray[np.float64]],
    n_prompts: int,
    confidence: float,
    seed: int,
    groups: int = GROUPS,
) -> Interval:
    """Estimate and interval of a statistic of all texts of the kept prompts.

    Args:
        statistic: from a mask of kept prompts, bool (prompts,), to the value for each training
            seed, shape (seeds,).
        n_prompts: number of prompts.
        confidence: such as 0.95.
        seed: of the random dealing into groups.
        groups: G; at most `n_prompts` groups are made.

    Returns:
        Mean over seeds, with bounds clipped to [0, 1]; bounds are None for fewer than two prompts
        or where a replicate is not defined.
    """
    from scipy.special import stdtrit

    everything = np.ones(n_prompts, dtype=np.bool_)
    per_seed = statistic(everything)
    value = float(per_seed.mean())
    if not np.isfinite(value):
        return Interval(None)
    groups = min(groups, n_prompts)
    if groups < 2:
        return Interval(value)
    dealt = np.random.default_rng(seed).permutation(np.arange(n_prompts) % groups)
    replicates = np.array([statistic(dealt != group).mean() for group in range(groups)])
    if not np.isfinite(replicates).all():
        return Interval(value)
    variance = (groups - 1) / groups * float(((replicates - replicates.mean()) ** 2).sum())
    if len(per_seed) > 1:
        variance += float(per_seed.var(ddof=1)) / len(per_seed)
    half = float(stdtrit(groups - 1, (1 + confidence) / 2)) * variance**0.5
    return Interval(value, max(0.0, value - half), min(1.0, value + half))
