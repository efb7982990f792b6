"""Options and flow shared by the methods that train on pairs: DPO, IPO, KTO, ORPO and SimPO.

They differ in their loss, and in whether it needs a reference model. Tokens, batching, optimizer,
schedule, budget and logging are the same code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from alignbench.metering.forecast import Forecast, Workload, add
from alignbench.methods.base import Inputs, Method, Need, Policy
from alignbench.methods.onpolicy import Positive, Rate

if TYPE_CHECKING:
    from alignbench.metering.meter import Meter
    from alignbench.training.preference_losses import PairLogprobs, PairLosses

Strength = Annotated[float, Field(gt=0)]


class PreferenceMethod(Method):
    """A method that raises chosen responses over rejected ones, by one of two kinds of loss.

    Where TRL's DPOTrainer has the loss, `trl_loss` names it; else `losses` computes it.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.PAIRS})
    code: ClassVar[tuple[str, ...]] = (
        "alignbench.methods.preference",
        "alignbench.training.preference",
        "alignbench.training.preference_losses",
        "alignbench.training.common",
        "alignbench.training.lm_head",
        "alignbench.models",
    )
    example: ClassVar[Mapping[str, Any]] = {"learning_rate": 1e-3, "batch_size": 8}
    uses_reference: ClassVar[bool] = True
    """Without it no reference model is even loaded."""
    uses_mismatches: ClassVar[bool] = False
    """Whether the loss looks at every prompt with the response to another one."""

    learning_rate: Rate
    beta: Strength
    epochs: Positive | None = 1
    """Passes over the pairs; null: until the budget ends."""
    batch_size: Positive = 16
    """Pairs in a forward pass; an optimizer step has `gradient_accumulation` times as many."""
    gradient_accumulation: Positive = 1
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.05
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    logging_steps: Positive = 5

    def trl_loss(self) -> dict[str, Any]:
        """Fields of DPOConfig that make TRL compute the loss; empty where `losses` does."""
        return {}

    def losses(self, batch: PairLogprobs) -> PairLosses:
        """The loss of each pair, where it is not one of TRL's."""
        raise NotImplementedError(f"{self.name} has neither trl_loss nor losses")

    def needs_of(self) -> frozenset[Need]:
        """The reference's log-probabilities too, unless a live reference is needed, or none."""
        shared = self.uses_reference and not self.uses_mismatches
        return self.needs | {Need.REFERENCE} if shared else self.needs

    def needs_budget(self) -> bool:
        """Without `epochs` only the budget ends the training."""
        return self.epochs is None

    def with_half_batch(self) -> Self | None:
        """Half the pairs in a forward pass, twice as many passes in a step.

        Not where the loss looks at other pairs of the pass.
        """
        if self.batch_size % 2 or self.uses_mismatches:
            return None
        halved = {
            "batch_size": self.batch_size // 2,
            "gradient_accumulation": 2 * self.gradient_accumulation,
        }
        return self.model_copy(update=halved)

    def forecast(self, work: Workload) -> Forecast:
        """Two responses a pair are trained on; a live reference scores them, and mismatches.

        One that was computed beforehand has scored all pairs once.
        """
        pairs = self.batch_size * self.gradient_accumulation
        passes = 3 * self.uses_mismatches
        steps = None if self.epochs is None else self.epochs * -(-work.pairs // pairs)
        return Forecast(
            add(work.trained(2 * pairs), add(work.scored(2 * pairs), times=passes)),
            steps,
            add(self._before(work), {"human_labels": work.pairs, "prompts": 0}),
        )

    def _before(self, work: Workload) -> Mapping[str, float]:
        return work.scored(2 * work.pairs) if Need.REFERENCE in self.needs_of() else {}

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        """Run the shared loop (`training.preference`) on the human-labelled pairs."""
        from alignbench.training.preference import train_on_pairs

        train_on_pairs(self, policy, inputs.pairs, inputs, meter)
