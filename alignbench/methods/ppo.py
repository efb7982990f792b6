"""Proximal policy optimisation with a learnt critic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from alignbench.metering.forecast import Spend, Workload, add
from alignbench.methods.onpolicy import OnPolicy, Positive, Rate, Unit

if TYPE_CHECKING:
    from torch import Tensor

    from alignbench.training.advantages import Rollout


class PPO(OnPolicy):
    """PPO: clipped policy and value losses, GAE, per-token KL penalty against the reference.

    Schulman et al. 2017 (arXiv:1707.06347) as used for language models by Ziegler et al. 2019
    (arXiv:1909.08593) and Ouyang et al. 2022 (arXiv:2203.02155): the critic is a separate model
    that starts from the reward model; advantages are whitened over the rollout. TRL 1.16 has no
    PPO; the rollout loop and the clipped policy loss are those of its GRPOTrainer, the rest is
    ours. Departures: the KL coefficient is fixed (no controller).
    """

    name: ClassVar[str] = "ppo"
    loss_type: ClassVar[Literal["grpo", "bnpo", "luspo"]] = "bnpo"

    samples_per_prompt: Annotated[int, Field(ge=2)] = 2
    minibatches: Positive = 2
    epochs: Positive = 2
    gamma: Unit = 1.0
    gae_lambda: Unit = 0.95
    value_clip: Annotated[float, Field(gt=0)] = 0.2
    critic_learning_rate: Rate | None = None
    """None: the policy's learning rate."""

    def advantages(self, rollout: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, T) whitened GAE advantages; the value targets go to the loss with them."""
        from alignbench.training.advantages import gae, kl_penalized_rewards, whiten

        assert rollout.values is not None
        assert rollout.reference_logprobs is not None
        rewards = kl_penalized_rewards(
            rollout.scores,
            rollout.logprobs,
            rollout.reference_logprobs,
            rollout.mask,
            self.kl_coef,
        )
        advantages, returns = gae(
            rewards, rollout.values, rollout.mask, self.gamma, self.gae_lambda
        )
        return whiten(advantages, rollout.mask), {
            "old_values": rollout.values,
            "returns": returns,
        }

    def _more_passes(self, work: Workload, samples: int) -> list[Spend]:
        """The critic: values before, and its own training in each epoch."""
        trained = add(work.trained(samples, head=False), times=self.epochs)
        return [work.scored(samples, head=False), trained]
