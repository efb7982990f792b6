"""Every expected number here is derived by hand in the comment beside it."""

from __future__ import annotations

import pytest
import torch

from alignbench.training.advantages import (
    clipped_value_loss,
    gae,
    group_normalized,
    kl_penalized_rewards,
    leave_one_out,
    whiten,
)


def close(actual: torch.Tensor, expected: list[float] | list[list[float]]) -> bool:
    return torch.allclose(actual.double(), torch.tensor(expected).double(), atol=1e-6)


def test_leave_one_out_by_hand() -> None:
    # Group (1, 2, 6): others' means are 4, 3.5, 1.5. Group (0, 0, 3): 1.5, 1.5, 0.
    rewards = torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0])
    assert close(leave_one_out(rewards, 3), [-3.0, -1.5, 4.5, -1.5, -1.5, 3.0])


def test_group_normalized_by_hand() -> None:
    # (1, 3): mean 2, sample variance (1 + 1) / 1 = 2, so -+1 / (sqrt(2) + 1e-4).
    unit = 1 / (2**0.5 + 1e-4)
    assert close(group_normalized(torch.tensor([1.0, 3.0]), 2), [-unit, unit])
    assert close(group_normalized(torch.tensor([1.0, 3.0]), 2, normalize=False), [-1.0, 1.0])


def test_equal_rewards_give_no_advantage() -> None:
    assert close(group_normalized(torch.full((4,), 7.0), 4), [0.0] * 4)
    assert close(leave_one_out(torch.full((4,), 7.0), 4), [0.0] * 4)


def test_kl_penalized_rewards_by_hand() -> None:
    # Row 1 has two tokens, row 2 three. Log-ratios: (0.5, -0.25, masked) and (0, 1, 2).
    logprobs = torch.tensor([[-1.0, -1.0, -9.0], [-1.0, -1.0, -1.0]])
    reference = torch.tensor([[-1.5, -0.75, -1.0], [-1.0, -2.0, -3.0]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    rewards = kl_penalized_rewards(torch.tensor([2.0, -1.0]), logprobs, reference, mask, 0.1)
    # The score lands on the last real token: 2 + 0.025 and -1 - 0.2.
    assert close(rewards, [[-0.05, 2.025, 0.0], [0.0, -0.1, -1.2]])


def test_gae_by_hand() -> None:
    # gamma 0.9, lambda 0.5. Row 1: r = (0, 1, 2), V = (1, 2, 3).
    #   d3 = 2 - 3 = -1;            A3 = -1
    #   d2 = 1 + 0.9*3 - 2 = 1.7;   A2 = 1.7 + 0.45 * -1 = 1.25
    #   d1 = 0 + 0.9*2 - 1 = 0.8;   A1 = 0.8 + 0.45 * 1.25 = 1.3625
    # Row 2 ends after two tokens: r = (0, 1), V = (1, 2).
    #   d2 = 1 - 2 = -1; A2 = -1;   d1 = 0.9*2 - 1 = 0.8; A1 = 0.8 - 0.45 = 0.35
    rewards = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 99.0]])
    values = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 99.0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    advantages, returns = gae(rewards, values, mask, gamma=0.9, lam=0.5)
    assert close(advantages, [[1.3625, 1.25, -1.0], [0.35, -1.0, 0.0]])
    assert close(returns, [[2.3625, 3.25, 2.0], [1.35, 1.0, 0.0]])


def test_gae_with_lambda_one_is_return_minus_value() -> None:
    rewards = torch.tensor([[1.0, 2.0, 4.0]])
    values = torch.tensor([[0.5, -1.0, 3.0]])
    advantages, returns = gae(rewards, values, torch.ones(1, 3), gamma=1.0, lam=1.0)
    assert close(returns, [[7.0, 6.0, 4.0]])
    assert close(advantages, [[6.5, 7.0, 1.0]])


def test_whiten_ignores_padding() -> None:
    # Kept: 1, 3, 5; mean 3, sample standard deviation 2.
    values = torch.tensor([[1.0, 3.0], [5.0, 1000.0]])
    assert close(whiten(values, torch.tensor([[1, 1], [1, 0]])), [[-1.0, 0.0], [1.0, 0.0]])


def test_whiten_of_one_token_is_zero_not_nan() -> None:
    assert close(whiten(torch.tensor([[5.0]]), torch.ones(1, 1)), [[0.0]])


def test_clipped_value_loss_by_hand() -> None:
    # Old value 0, clip 0.2, return 1. V = 0.5 is clipped to 0.2: max(0.25, 0.64) = 0.64.
    # V = -0.1 is not clipped: 1.21. The third token is padding. Mean 0.925, half 0.4625.
    loss = clipped_value_loss(
        torch.tensor([[0.5, -0.1, 50.0]]),
        torch.zeros(1, 3),
        torch.ones(1, 3),
        torch.tensor([[1, 1, 0]]),
        0.2,
    )
    assert loss.item() == pytest.approx(0.4625, abs=1e-6)
