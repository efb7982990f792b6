"""How the best validation value grows with the number of trials."""

from __future__ import annotations

from collections.abc import Sequence


def expected_best(values: Sequence[float]) -> list[float]:
    """Expected best of k = 1..N draws, with replacement, from N observed values.

    Dodge et al. 2019 (arXiv:1909.03004, sec. 3): the largest of k draws is at most v with
    probability F(v)^k, F being the empirical distribution, so that

        E[max of k] = sum over the sorted values v_(i) of v_(i) * ((i/N)^k - ((i-1)/N)^k).

    Equal values need no care: their terms telescope. At k = 1 it is the mean; at k = N it stays
    below the observed maximum, which a second search of the same size might not find.

    Args:
        values: (N,) one a trial, in any order.

    Returns:
        (N,) expectations for k = 1..N, which never fall.
    """
    ordered, n = sorted(values), len(values)
    return [
        sum(v * ((i / n) ** k - ((i - 1) / n) ** k) for i, v in enumerate(ordered, start=1))
        for k in range(1, n + 1)
    ]


def running_best(values: Sequence[float]) -> list[float]:
    """Best of the first k trials as they were run, for k = 1..N.

    Args:
        values: (N,) in the order of the trials.
    """
    return [max(values[:k]) for k in range(1, len(values) + 1)]
