"""Rewards per token, advantages and returns: the arithmetic in which on-policy methods differ.

Shapes: B sequences, T response tokens, K samples per prompt. A row's padding is to the right and
its mask is 0 there; masked positions of every result are 0. Everything here is a pure function of
tensors and is tested against numbers derived by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rollout:
    """One batch of responses, K per prompt next to each other.

    Attributes:
        scores: (B,) standardised reward-model scores, less the penalty for a missing EOS.
        mask: (B, T) 1 on response tokens, EOS included.
        logprobs: (B, T) of the tokens under the model that sampled them, at the row's temperature.
        reference_logprobs: (B, T) under the frozen reference, None when the method holds none.
        values: (B, T) critic's V(s_t), None without a critic.
        samples_per_prompt: K.
    """

    scores: Tensor
    mask: Tensor
    logprobs: Tensor
    reference_logprobs: Tensor | None
    values: Tensor | None
    samples_per_prompt: int

    def sequence_kl(self) -> Tensor:
        """(B,) sum over tokens of log(pi/pi_ref): the sampled estimate of the sequence KL.

        Raises:
            ValueError: the method holds no reference.
        """
        if self.reference_logprobs is None:
            raise ValueError("this method holds no reference model, so its KL is unknown")
        return ((self.logprobs - self.reference_logprobs) * self.mask).sum(dim=1)


def leave_one_out(rewards: Tensor, samples_per_prompt: int) -> Tensor:
    """Reward minus the mean reward of the *other* samples of the same prompt.

    An unbiased baseline that needs no critic (Kool et al. 2019; RLOO, Ahmadian et al. 2024,
    arXiv:2402.14740, eq. 8).

    Args:
        rewards: (B,), the K samples of a prompt next to each other.
        samples_per_prompt: K >= 2.

    Returns:
        (B,) advantages; every group sums to 0.
    """
    groups = rewards.view(-1, samples_per_prompt)
    others = (groups.sum(dim=1, keepdim=True) - groups) / (samples_per_prompt - 1)
    return (groups - others).view(-1)


def group_normalized(rewards: Tensor, samples_per_prompt: int, normalize: bool = True) -> Tensor:
    """Reward minus its group's mean, divided by the group's (sample) standard deviation.

    GRPO (Shao et al. 2024, arXiv:2402.03300, sec. 4.1.2). As in TRL, 1e-4 is added to the standard
    deviation; without `normalize` only the mean is taken off (Dr. GRPO, arXiv:2503.20783).

    Args:
        rewards: (B,), the K samples of a prompt next to each other.
        samples_per_prompt: K >= 2.
        normalize: divide by the standard deviation.

    Returns:
        (B,) advantages.
    """
    groups = rewards.view(-1, samples_per_prompt)
    centred = groups - groups.mean(dim=1, keepdim=True)
    if normalize:
        centred = centred / (groups.std(dim=1, keepdim=True) + 1e-4)
    return centred.view(-1)


def kl_penalized_rewards(
    scores: Tensor, logprobs: Tensor, reference_logprobs: Tensor, mask: Tensor, kl_coef: float
) -> Tensor:
    """Per-token reward: minus the KL penalty at every token, plus the score at the last one.

    r_t = -kl_coef * (log pi(a_t|s_t) - log pi_ref(a_t|s_t)) + [t last] * score
    (Ziegler et al. 2019, arXiv:1909.08593, eq. 2).

    Args:
        scores: (B,) reward of the whole response.
        logprobs: (B, T) of the sampled tokens under the policy that sampled them.
        reference_logprobs: (B, T) under the frozen reference.
        mask: (B, T), 1 on response tokens.
        kl_coef: weight of the penalty, >= 0.

    Returns:
        (B, T).
    """
    mask = mask.to(logprobs.dtype)
    rewards = -kl_coef * (logprobs - reference_logprobs) * mask
    last = mask.sum(dim=1).long() - 1
    rewards[torch.arange(len(rewards)), last] += scores.to(rewards.dtype)
    return rewards


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation over right-padded rows that end at their last token.

    delta_t = r_t + gamma * V(s_{t+1}) - V(s_t), A_t = delta_t + gamma * lam * A_{t+1}, with
    V = A = 0 after the last token (Schulman et al. 2016, arXiv:1506.02438, eq. 16).

    Args:
        rewards: (B, T).
        values: (B, T), V(s_t) before token t is chosen.
        mask: (B, T).
        gamma: discount in [0, 1].
        lam: lambda in [0, 1].

    Returns:
        advantages (B, T) and returns (B, T) = advantages + values.
    """
    mask = mask.to(values.dtype)
    rewards, values = rewards * mask, values * mask
    advantages = torch.zeros_like(values)
    next_advantage = torch.zeros_like(values[:, 0])
    next_value = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        next_advantage = (delta + gamma * lam * next_advantage) * mask[:, t]
        next_value = values[:, t]
        advantages[:, t] = next_advantage
    return advantages, advantages + values


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Zero mean and unit (sample) variance over the masked entries of the whole batch.

    Args:
        values: (B, T).
        mask: (B, T).

    Returns:
        (B, T); all zeros when fewer than two entries are masked in.
    """
    kept = values[mask.bool()]
    if kept.numel() < 2:
        return torch.zeros_like(values)
    return (values - kept.mean()) / (kept.std() + 1e-8) * mask.to(values.dtype)


def clipped_value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float
) -> Tensor:
    """0.5 * mean over tokens of max((V - R)^2, (clip(V, V_old +- clip) - R)^2).

    (Schulman et al. 2017's code; item 13 of "The N implementation details of RLHF with PPO".)

    Args:
        values: (B, T) of the critic being trained.
        old_values: (B, T) at the time of the rollout.
        returns: (B, T) targets.
        mask: (B, T).
        clip: half-width of the trust interval.

    Returns:
        Scalar loss.
    """
    mask = mask.to(values.dtype)
    clipped = old_values + (values - old_values).clamp(-clip, clip)
    worst = torch.maximum((values - returns) ** 2, (clipped - returns) ** 2)
    return 0.5 * (worst * mask).sum() / mask.sum().clamp(min=1.0)
