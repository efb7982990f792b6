"""Gold reward as a function of the distance that optimisation has gone.

Gao, Schulman and Hilton (2023, "Scaling laws for reward model overoptimization", arXiv:2210.10760)
found for reinforcement learning against a proxy that the gain in gold reward over the start is

    R(d) = d (alpha - beta log d),    d = sqrt(KL(policy || start)).

Its derivative alpha - beta - beta log d is zero at d = exp(alpha / beta - 1), a maximum where
beta > 0. The form is linear in alpha and beta, so the least-squares fit is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alignbench.stats.bootstrap import Floats


@dataclass(frozen=True)
class Fits:
    """Fits of many curves at once; each array has shape (curves,).

    Attributes:
        alpha, beta: nan where the points do not determine them (all at one KL).
        peak: KL at the maximum, nats; infinite where the fitted curve has none.
        end: KL of the last point.
        r_squared: share of the variance between the gains that the fit explains.
    """

    alpha: Floats
    beta: Floats
    peak: Floats
    end: Floats
    r_squared: Floats


def fit_reward_kl(gains: Floats, kls: Floats) -> Fits:
    """Least squares of R = alpha d - beta d log d, unweighted.

    Args:
        gains: gold reward less that of the start, shape (curves, points).
        kls: KL from the start, nats, shape (curves, points); a resampled one may be 0.
    """
    d = np.sqrt(np.clip(kls, 1e-12, None))
    x, y = d, -d * np.log(d)
    xx, xy, yy = (x * x).sum(1), (x * y).sum(1), (y * y).sum(1)
    xr, yr = (x * gains).sum(1), (y * gains).sum(1)
    determinant = xx * yy - xy * xy
    # Points at one KL do not tell alpha from beta.
    usable = determinant > 1e-9 * xx * yy
    safe = np.where(usable, determinant, 1.0)
    alpha = np.where(usable, (yy * xr - xy * yr) / safe, np.nan)
    beta = np.where(usable, (xx * yr - xy * xr) / safe, np.nan)
    falls = beta > 0
    exponent = np.where(falls, alpha / np.where(falls, beta, 1.0) - 1, np.inf)
    peak = np.exp(2 * np.clip(exponent, -300, 300))
    residual = ((gains - alpha[:, None] * x - beta[:, None] * y) ** 2).sum(1)
    total = ((gains - gains.mean(1, keepdims=True)) ** 2).sum(1)
    return Fits(
        alpha,
        beta,
        np.where(falls & (exponent < 300), peak, np.inf),
        kls[:, -1],
        1 - residual / np.where(total > 0, total, np.nan),
    )
