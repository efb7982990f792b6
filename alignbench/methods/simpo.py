"""Simple preference optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from alignbench.methods.preference import PreferenceMethod, Strength

if TYPE_CHECKING:
    from alignbench.training.preference_losses import PairLogprobs, PairLosses


class SimPO(PreferenceMethod):
    """SimPO: raise the chosen response's mean log-probability a margin above the rejected one's.

    -log sigmoid(beta * log p (chosen) - beta * log p (rejected) - gamma), log p the mean
    log-probability of the response's tokens (Meng et al. 2024, arXiv:2405.14734, eq. 6). There is
    no reference model, and nothing that holds the policy near the start but the learning rate.

    No departure. (TRL's CPOTrainer with `loss_type: simpo` adds an SFT term by default, its
    `cpo_alpha`, which is not in the paper.)
    """

    name: ClassVar[str] = "simpo"
    uses_reference: ClassVar[bool] = False

    beta: Strength = 2.0
    gamma: Annotated[float, Field(ge=0)] = 1.0
    """Target margin, in units of the reward (beta * log p)."""

    def losses(self, batch: PairLogprobs) -> PairLosses:
        """Eq. 6; the logged rewards are its two terms."""
        from alignbench.training.preference_losses import PairLosses, simpo

        chosen, rejected = self.beta * batch.chosen_mean, self.beta * batch.rejected_mean
        return PairLosses(simpo(chosen, rejected, self.gamma), chosen, rejected)
