"""Losses on pairs that TRL's DPOTrainer does not have: KTO, ORPO and SimPO.

Pure functions of log-probabilities in nats. n is the number of pairs in the batch; all losses are
per pair, (n,), and their mean is what is minimised.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class PairLogprobs:
    """Log-probabilities of whole responses (sums over their tokens, EOS included), (n,) each.

    Attributes:
        chosen, rejected: under the policy, with gradient.
        chosen_tokens, rejected_tokens: lengths of the responses.
        reference_chosen, reference_rejected: under the reference; None without one.
        mismatched_ratios: log pi/pi_ref of prompts with other prompts' responses, (2n,), without
            gradient; None unless asked for, or where there is no other prompt.
    """

    chosen: Tensor
    rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor
    reference_chosen: Tensor | None = None
    reference_rejected: Tensor | None = None
    mismatched_ratios: Tensor | None = None

    @property
    def chosen_mean(self) -> Tensor:
        """Mean log-probability of a chosen response's tokens, (n,)."""
        return self.chosen / self.chosen_tokens

    @property
    def rejected_mean(self) -> Tensor:
        """Mean log-probability of a rejected response's tokens, (n,)."""
        return self.rejected / self.rejected_tokens

    @property
    def chosen_ratio(self) -> Tensor:
        """log pi/pi_ref of chosen responses, (n,)."""
        assert self.reference_chosen is not None, "no reference: set uses_reference"
        return self.chosen - self.reference_chosen

    @property
    def rejected_ratio(self) -> Tensor:
        """log pi/pi_ref of rejected responses, (n,)."""
        assert self.reference_rejected is not None, "no reference: set uses_reference"
        return self.rejected - self.reference_rejected


@dataclass(frozen=True)
class PairLosses:
    """What a method makes of a batch.

    Attributes:
        loss: (n,).
        chosen_rewards, rejected_rewards: the method's implicit rewards (n,), for the log.
        figures: scalars for the log, by name.
    """

    loss: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor
    figures: dict[str, Tensor] = field(default_factory=dict)


def reference_point(mismatched_ratios: Tensor | None) -> Tensor:
    """KTO's z: the mean of log pi/pi_ref (m,), at least 0, without gradient; 0 for no ratios."""
    if mismatched_ratios is None:
        return torch.zeros(())
    return mismatched_ratios.detach().mean().clamp(min=0)


def kto(
    chosen_ratio: Tensor,
    rejected_ratio: Tensor,
    z: Tensor,
    beta: float,
    desirable_weight: float,
    undesirable_weight: float,
) -> Tensor:
    """Mean KTO loss of the two responses of a pair (L_KTO of Ethayarajh et al. 2024)."""
    desirable = 1 - torch.sigmoid(beta * (chosen_ratio - z))
    undesirable = 1 - torch.sigmoid(beta * (z - rejected_ratio))
    return (desirable_weight * desirable + undesirable_weight * undesirable) / 2


def log_odds(logp: Tensor) -> Tensor:
    """log [p / (1 - p)] from log p; finite up to p = 1 in float32."""
    logp = logp.clamp(max=-1e-6)
    return logp - torch.log(-torch.expm1(logp))


def orpo(chosen_mean: Tensor, rejected_mean: Tensor, beta: float) -> Tensor:
    """ORPO loss from mean log-probabilities of the tokens (Hong et al. 2024, eq. 6 and 7)."""
    ratio = log_odds(chosen_mean) - log_odds(rejected_mean)
    return -chosen_mean - beta * F.logsigmoid(ratio)


def simpo(chosen_reward: Tensor, rejected_reward: Tensor, gamma: float) -> Tensor:
    """SimPO loss from rewards beta * mean log-probability (Meng et al. 2024, eq. 6)."""
    return -F.logsigmoid(chosen_reward - rejected_reward - gamma)
