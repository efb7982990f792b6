from __future__ import annotations

import numpy as np
import pytest

from alignbench.stats.reward_kl import fit_reward_kl


def test_exact_points_give_their_curve_back() -> None:
    kls = np.array([[1.0, 4.0, 9.0, 16.0], [2.0, 3.0, 5.0, 8.0]])
    d = np.sqrt(kls)
    alpha, beta = np.array([[1.2], [2.0]]), np.array([[0.6], [-0.3]])
    fits = fit_reward_kl(d * (alpha - beta * np.log(d)), kls)
    assert fits.alpha == pytest.approx(alpha[:, 0])
    assert fits.beta == pytest.approx(beta[:, 0])
    # alpha - beta - beta log d = 0 at d = e^(2 - 1), so KL = e^2; a rising curve has no peak.
    assert fits.peak[0] == pytest.approx(np.e**2)
    assert fits.peak[1] == np.inf
    assert list(fits.end) == [16.0, 8.0]
    assert fits.r_squared == pytest.approx([1.0, 1.0])


def test_another_curve_is_explained_badly() -> None:
    kls = np.array([[1.0, 4.0, 9.0, 16.0]])
    assert fit_reward_kl(np.array([[0.0, 2.0, -1.0, 1.5]]), kls).r_squared[0] < 0.5


def test_one_kl_determines_nothing() -> None:
    fits = fit_reward_kl(np.array([[1.0, 1.1, 0.9, 1.0]]), np.full((1, 4), 3.0))
    assert np.isnan(fits.alpha[0])
    assert fits.peak[0] == np.inf
