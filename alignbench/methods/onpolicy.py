"""Options and flow shared by the methods that sample from the policy as they train it.

`Online` is what they all share: rollouts, reward, batching, optimizer, schedule and logging.
`OnPolicy` adds the policy gradient: its subclasses (REINFORCE, PPO, GRPO) differ in `advantages`,
in the way the policy loss is summed, and in whether they have a critic.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from alignbench.metering.forecast import Forecast, Spend, Workload, add
from alignbench.methods.base import Inputs, Method, Need, Policy

if TYPE_CHECKING:
    from torch import Tensor

    from alignbench.metering.meter import Meter
    from alignbench.training.advantages import Rollout

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Unit = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Temperature = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Slot:
    """Where one of the K responses to a prompt comes from, and how it is sampled.

    Attributes:
        source: the policy; the frozen start model (``sft``); or the start model's answer to
            another prompt of the rollout (``bad``).
        temperature: of sampling; the response is also trained on at this temperature.
    """

    source: Literal["policy", "sft", "bad"]
    temperature: float


class OnlineReward(BaseModel):
    """A reward model that follows the policy: refreshed on AI-labelled pairs of its samples."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    every: Positive
    """Rollouts from one refresh to the next."""
    pairs: Positive
    """Pairs of responses of the newest rollout that are labelled for a refresh (2 labels each)."""
    learning_rate: Rate
    steps: Positive = 8
    """Bradley-Terry updates per refresh."""
    batch_size: Positive = 16
    """Pairs per update, drawn from all that were labelled so far."""


class Online(Method):
    """A method that samples from the policy, scores with the reward model and updates."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.PROMPTS, Need.REWARD})
    code: ClassVar[tuple[str, ...]] = (
        "alignbench.methods.onpolicy",
        "alignbench.training.onpolicy",
        "alignbench.training.onpolicy_run",
        "alignbench.training.mixed",
        "alignbench.training.online_reward",
        "alignbench.training.advantages",
        "alignbench.training.critic",
        "alignbench.training.common",
        "alignbench.training.batching",
        "alignbench.models",
    )
    example: ClassVar[Mapping[str, Any]] = {
        "learning_rate": 1e-3,
        "prompts_per_rollout": 4,
        "samples_per_prompt": 2,
    }

    learning_rate: Rate
    rollouts: Positive | None = None
    """Rollout batches; optimizer steps = rollouts x minibatches x epochs. None: until the budget
    ends."""
    prompts_per_rollout: Positive = 8
    samples_per_prompt: Annotated[int, Field(ge=2)] = 4
    temperature: Temperature = 1.0
    minibatches: Positive = 1
    epochs: Positive = 1
    gradient_accumulation: Positive = 1
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    missing_eos_penalty: NonNegative = 1.0
    """Taken off the reward (in standard deviations) of a response cut at the length limit."""
    online_reward: OnlineReward | None = None
    """None: the reward model stays as it is."""

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

    def needs_of(self) -> frozenset[Need]:
        """With an online reward model, a labeller too."""
        return self.needs | {Need.LABELLER} if self.online_reward is not None else self.needs

    def needs_budget(self) -> bool:
        """Without a number of rollouts, only a budget ends it."""
        return self.rollouts is None

    def with_half_batch(self) -> Self | None:
        """Half the responses in a backward pass, twice as many passes in a step.

        Not where the loss is a mean over the tokens of a pass (``bnpo``): means of shorter passes
        weigh tokens otherwise.
        """
        if self.loss_settings().get("loss_type") == "bnpo":
            return None
        pieces = 2 * self.minibatches * self.gradient_accumulation
        if (self.prompts_per_rollout * self.samples_per_prompt) % pieces:
            return None
        return self.model_copy(update={"gradient_accumulation": 2 * self.gradient_accumulation})

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Where the K responses to each prompt come from."""
        return (Slot("policy", self.temperature),) * self.samples_per_prompt

    @property
    @abstractmethod
    def holds_reference(self) -> bool:
        """Whether rollouts are scored by a frozen copy of the start model."""

    def loss_settings(self) -> Mapping[str, Any]:
        """What TRL's GRPOConfig is told about the loss."""
        return {}

    def forecast(self, work: Workload) -> Forecast:
        """Sampling, the reward model and the reference once a rollout, the policy each epoch.

        Refreshes of an online reward model are left out.
        """
        samples = self.prompts_per_rollout * self.samples_per_prompt
        updates = self.minibatches * self.epochs
        rollout = [
            work.sampled(self.prompts_per_rollout, samples),
            work.scored(samples, head=False),
            {"prompts": float(self.prompts_per_rollout)},
            *self._more_passes(work, samples),
        ]
        if self.reference_passes:
            rollout.append(work.scored(samples))
        if updates > 1:  # the log-probabilities before the first of them
            rollout.append(work.scored(samples))
        training = work.trained(samples / self.minibatches)
        return Forecast(
            add(add(*rollout, times=1 / updates), training),
            None if self.rollouts is None else float(self.rollouts * updates),
        )

    @property
    def reference_passes(self) -> bool:
        """Whether a reference model scores the rollouts, wherever its KL then goes."""
        return self.holds_reference

    def _more_passes(self, work: Workload, samples: int) -> list[Spend]:
        """What a rollout costs beyond the policy, the reference and the reward model."""
        return []

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        """Run the shared loop (`training.onpolicy`)."""
        from alignbench.training.onpolicy_run import train_on_policy

        train_on_policy(self, policy, inputs, meter)


class OnPolicy(Online):
    """A policy gradient method: rollouts are turned into advantages."""

    loss_type: ClassVar[Literal["grpo", "bnpo", "luspo"]]
    """How TRL sums the per-token loss: grpo = mean of sequence means, bnpo = mean over tokens,
    luspo = mean over sequences of token sums."""

    kl_coef: NonNegative = 0.1
    clip: Rate = 0.2

    @property
    def kl_in_loss(self) -> float:
        """Weight of TRL's k3 KL term in the loss; 0 keeps the KL penalty out of the loss."""
        return 0.0

    @property
    def kl_in_reward(self) -> float:
        """Weight of the KL penalty in the reward; a reference is held when it is above 0."""
        return self.kl_coef

    @property
    def holds_reference(self) -> bool:
        """For the KL penalty in the reward (TRL holds its own for one in the loss)."""
        return self.kl_in_reward > 0

    @property
    def reference_passes(self) -> bool:
        """For either KL penalty."""
        return self.kl_in_reward > 0 or self.kl_in_loss > 0

    def loss_settings(self) -> Mapping[str, Any]:
        """PPO's clipped loss, summed as `loss_type` says."""
        return {
            "loss_type": self.loss_type,
            "beta": self.kl_in_loss,
            "epsilon": self.clip,
            "epsilon_high": self.clip,
        }

    @abstractmethod
    def advantages(self, rollout: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """Advantages (B,) or (B, T) of a rollout, and further (B, ...) tensors for the loss."""
