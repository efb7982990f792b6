"""Options and flow shared by the on-policy methods: REINFORCE, PPO and GRPO.

They differ in `advantages`, in the way the policy loss is summed, and in whether they have a
critic. Rollouts, reward, KL, batching, optimizer, schedule and logging are the same code.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alignbench.methods.base import Inputs, Method, Need, Policy

if TYPE_CHECKING:
    from torch import Tensor

    from alignbench.methods.meter import Meter
    from alignbench.training.onpolicy import Rollout

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Unit = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]


class OnPolicy(Method):
    """A method that samples from the policy, scores with the reward model and updates."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.PROMPTS, Need.REWARD})
    code: ClassVar[tuple[str, ...]] = (
        "alignbench.methods.onpolicy",
        "alignbench.training.onpolicy",
        "alignbench.training.advantages",
        "alignbench.training.critic",
        "alignbench.training.common",
        "alignbench.training.batching",
        "alignbench.models",
    )
    loss_type: ClassVar[Literal["grpo", "bnpo", "luspo"]]
    """How TRL sums the per-token loss: grpo = mean of sequence means, bnpo = mean over tokens,
    luspo = mean over sequences of token sums."""

    learning_rate: Rate
    rollouts: Positive
    """Rollout batches; optimizer steps = rollouts x minibatches x epochs."""
    prompts_per_rollout: Positive = 8
    samples_per_prompt: Annotated[int, Field(ge=2)] = 4
    temperature: Annotated[float, Field(gt=0)] = 1.0
    kl_coef: NonNegative = 0.1
    minibatches: Positive = 1
    epochs: Positive = 1
    gradient_accumulation: Positive = 1
    clip: Rate = 0.2
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    missing_eos_penalty: NonNegative = 1.0
    """Taken off the reward (in standard deviations) of a response cut at the length limit."""

    @model_validator(mode="after")
    def _rollouts_divide(self) -> Self:
        batch = self.prompts_per_rollout * self.samples_per_prompt
        pieces = self.minibatches * self.gradient_accumulation
        if batch % pieces:
            raise ValueError(
                f"{batch} responses per rollout (prompts_per_rollout x samples_per_prompt) cannot "
                f"be cut into {pieces} equal pieces (minibatches x gradient_accumulation)"
            )
        return self

    @property
    def kl_in_loss(self) -> float:
        """Weight of TRL's k3 KL term in the loss; 0 keeps the KL penalty out of the loss."""
        return 0.0

    @property
    def kl_in_reward(self) -> float:
        """Weight of the KL penalty in the reward; a reference is held when it is above 0."""
        return self.kl_coef

    @abstractmethod
    def advantages(self, rollout: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """Advantages (B,) or (B, T) of a rollout, and further (B, ...) tensors for the loss."""

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        """Run the shared loop (`training.onpolicy`)."""
        from alignbench.training.onpolicy import train_on_policy

        train_on_policy(self, policy, inputs, meter)
