"""The losses against numbers derived by hand: sigmoid(log 3) = 3/4, sigmoid(log 4) = 4/5."""

from __future__ import annotations

import math

import pytest
import torch

from alignbench.methods.kto import KTO
from alignbench.methods.orpo import ORPO
from alignbench.methods.simpo import SimPO
from alignbench.training.preference_losses import (
    PairLogprobs,
    kto,
    log_odds,
    orpo,
    reference_point,
    simpo,
)

LOG2, LOG3 = math.log(2), math.log(3)


def logs(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).log()


def exact(expected: list[float]) -> object:
    return pytest.approx(expected, abs=1e-9)


def test_kto_by_hand() -> None:
    # Ratios over z = 2: chosen 6/2 = 3 and rejected 2/(1/2) = 4 the other way round.
    args = logs(6), logs(0.5), logs(2)[0]
    assert kto(*args, 1.0, 1.0, 1.0).tolist() == exact([(1 / 4 + 1 / 5) / 2])
    assert kto(*args, 1.0, 1.0, 2.0).tolist() == exact([(1 / 4 + 2 / 5) / 2])
    assert kto(*args, 1.0, 3.0, 1.0).tolist() == exact([(3 / 4 + 1 / 5) / 2])
    # beta 1/2 takes the square root: 36/4 = 9 -> 3, and 4/(1/4) = 16 -> 4.
    squared = logs(36), logs(0.25), logs(4)[0]
    assert kto(*squared, 0.5, 1.0, 1.0).tolist() == exact([(1 / 4 + 1 / 5) / 2])


def test_reference_point_is_a_mean_that_is_not_negative_and_has_no_gradient() -> None:
    ratios = torch.tensor([3.0, -1.0], requires_grad=True)
    assert reference_point(ratios).item() == 1.0
    assert not reference_point(ratios).requires_grad
    assert reference_point(-ratios).item() == 0.0
    assert reference_point(None).item() == 0.0


def test_orpo_by_hand() -> None:
    # Odds 1 to 1 against 1 to 3: -log(1/2) and lambda times -log(3/4).
    assert orpo(logs(1 / 2), logs(1 / 4), 0.1).tolist() == exact([LOG2 + 0.1 * math.log(4 / 3)])
    assert orpo(logs(1 / 4), logs(1 / 2), 1.0).tolist() == exact([math.log(4) + math.log(4)])


def test_log_odds_at_the_ends_are_finite() -> None:
    logp = torch.tensor([0.0, -1e-7, -1e-3, -80.0], requires_grad=True)
    found = log_odds(logp)
    # 1 - exp(-0.001) = 0.0009995; a p near 0 has odds p.
    assert found[2:].tolist() == pytest.approx([-1e-3 - math.log(0.0009995001666), -80.0], abs=1e-5)
    assert found[0] == found[1] > 13
    (gradient,) = torch.autograd.grad(found.sum(), logp)
    # d log odds / d log p = 1 / (1 - p), and none where p is taken as 1.
    assert gradient.tolist() == pytest.approx([0, 0, 1000.5, 1.0], rel=1e-4)


def test_simpo_by_hand() -> None:
    # Rewards log 6 and 0, margin log 2: sigmoid(log 3).
    assert simpo(logs(6), logs(1), LOG2).tolist() == exact([math.log(4 / 3)])
    assert simpo(logs(1), logs(6), LOG2).tolist() == exact([math.log(13)])  # sigmoid(-log 12)


@pytest.fixture
def batch() -> PairLogprobs:
    """Two pairs; chosen responses of 1 and 2 tokens, rejected ones of 3 and 1."""
    return PairLogprobs(
        chosen=logs(1 / 2, 1 / 4),
        rejected=logs(1 / 64, 1 / 3),
        chosen_tokens=torch.tensor([1, 2]),
        rejected_tokens=torch.tensor([3, 1]),
        reference_chosen=logs(1 / 4, 1 / 4),
        reference_rejected=logs(1 / 64, 1 / 12),
        mismatched_ratios=logs(4, 4, 4, 1 / 4),
    )


def test_kto_on_a_batch(batch: PairLogprobs) -> None:
    # z = log(4 * 4 * 4 / 4) / 4 = log 2; chosen over z: 2/2, 1/2; rejected under z: 2/1, 2/4.
    result = KTO(learning_rate=0.1, beta=1.0).losses(batch)
    first, second = (1 / 2 + 1 / 3) / 2, (2 / 3 + 2 / 3) / 2
    assert result.loss.tolist() == exact([first, second])
    assert result.chosen_rewards.tolist() == exact([LOG2, 0.0])
    assert result.rejected_rewards.tolist() == exact([0.0, 2 * LOG2])
    assert result.figures["kl"].item() == pytest.approx(LOG2)


def test_orpo_on_a_batch(batch: PairLogprobs) -> None:
    # Per token: chosen 1/2 and 1/2 (odds 1, 1), rejected 1/4 and 1/3 (odds 1/3, 1/2).
    result = ORPO(learning_rate=0.1, beta=0.5).losses(batch)
    expected = [LOG2 + 0.5 * math.log(4 / 3), LOG2 + 0.5 * math.log(3 / 2)]
    assert result.loss.tolist() == exact(expected)
    assert result.rejected_rewards.tolist() == exact([-LOG2, -0.5 * LOG3])
    assert result.figures["nll_loss"].item() == pytest.approx(LOG2)


def test_simpo_on_a_batch(batch: PairLogprobs) -> None:
    # beta 2: 1/4 against 1/16, and 1/4 against 1/9; margin log 2 halves each quotient.
    result = SimPO(learning_rate=0.1, beta=2.0, gamma=LOG2).losses(batch)
    assert result.loss.tolist() == exact([math.log(3 / 2), math.log(1 + 8 / 9)])
    assert result.chosen_rewards.tolist() == exact([-2 * LOG2, -2 * LOG2])
