"""Direct preference optimisation on the policy's own samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator

from alignbench.metering.forecast import Forecast, Workload, add
from alignbench.methods.base import Inputs, Policy
from alignbench.methods.onpolicy import Online

if TYPE_CHECKING:
    from alignbench.metering.meter import Meter


class OnlineDPO(Online):
    """Online DPO: best and worst of K fresh samples by the reward model make the pair.

    Guo et al. 2024, arXiv:2402.04792: sigmoid DPO loss against the frozen start model. Departures:
    the reward model judges and not a language model, the pair is the best and worst of K (the
    paper has K = 2), and log-probabilities are those of the temperature that sampled. A prompt
    whose samples all score the same gives no pair; it counts as a loss of 0. The loop is that of
    the other on-policy methods; the loss is ours (TRL's sums gradients over accumulation steps).
    """

    name: ClassVar[str] = "online_dpo"
    code: ClassVar[tuple[str, ...]] = (*Online.code, "alignbench.training.online_dpo")

    samples_per_prompt: Annotated[int, Field(ge=2)] = 2
    beta: Annotated[float, Field(gt=0)] = 0.1
    """Strength of the pull towards the start model; smaller allows more change."""

    @model_validator(mode="after")
    def _pairs_divide(self) -> Self:
        pieces = self.minibatches * self.gradient_accumulation
        if self.prompts_per_rollout % pieces:
            raise ValueError(
                f"{self.prompts_per_rollout} pairs per rollout (one for each of "
                f"prompts_per_rollout) cannot be cut into {pieces} equal pieces (minibatches x "
                "gradient_accumulation)"
            )
        return self

    @property
    def holds_reference(self) -> bool:
        """Always: the loss compares with it."""
        return True

    def forecast(self, work: Workload) -> Forecast:
        """Two of the K answers are trained on, and no old log-probabilities are needed."""
        samples = self.prompts_per_rollout * self.samples_per_prompt
        updates = self.minibatches * self.epochs
        rollout = add(
            work.sampled(self.prompts_per_rollout, samples),
            work.scored(samples, head=False),
            work.scored(samples),
            {"prompts": float(self.prompts_per_rollout)},
            times=1 / updates,
        )
        training = work.trained(2 * self.prompts_per_rollout / self.minibatches)
        steps = None if self.rollouts is None else float(self.rollouts * updates)
        return Forecast(add(rollout, training), steps)

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        """Run the shared loop with the loss of pairs."""
        from alignbench.training.online_dpo import OnlineDPOTrainer
        from alignbench.training.onpolicy_run import train_on_policy

        train_on_policy(self, policy, inputs, meter, OnlineDPOTrainer)
