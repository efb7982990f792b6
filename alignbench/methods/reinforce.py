"""REINFORCE with a leave-one-out baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from alignbench.methods.onpolicy import OnPolicy

if TYPE_CHECKING:
    from torch import Tensor

    from alignbench.training.advantages import Rollout


class Reinforce(OnPolicy):
    """REINFORCE: raise the log-probability of responses that beat their siblings' mean reward.

    Reward = score - kl_coef * sum_t log(pi/pi_ref); baseline = mean reward of the prompt's other
    samples (RLOO, Ahmadian et al. 2024, arXiv:2402.14740). One update per rollout, so that no
    ratio is needed (it is 1) and nothing is clipped.
    """

    name: ClassVar[str] = "reinforce"
    loss_type: ClassVar[Literal["grpo", "bnpo", "luspo"]] = "luspo"

    minibatches: Literal[1] = 1
    epochs: Literal[1] = 1

    def advantages(self, rollout: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """(B,) leave-one-out advantages of the KL-penalised sequence rewards."""
        from alignbench.training.advantages import leave_one_out

        rewards = rollout.scores - self.kl_coef * rollout.sequence_kl()
        return leave_one_out(rewards, rollout.samples_per_prompt), {}
