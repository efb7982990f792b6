"""Odds ratio preference optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from alignbench.methods.preference import PreferenceMethod, Strength

if TYPE_CHECKING:
    from alignbench.training.preference_losses import PairLogprobs, PairLosses


class ORPO(PreferenceMethod):
    """ORPO: go on with SFT on the chosen response while the odds turn against the rejected one.

    L_SFT - beta * log sigmoid(log [odds(chosen) / odds(rejected)]), odds = p / (1 - p), log p the
    mean log-probability of the response's tokens (Hong et al. 2024, arXiv:2403.07691, eq. 3 to 7;
    beta is the paper's lambda). There is no reference model.

    Departures:

    - L_SFT is the mean over pairs of -log p (chosen), so that long responses do not weigh more and
      gradient accumulation changes nothing. TRL's ORPOTrainer takes the mean over all tokens of
      the batch, the prompt's included; as in our SFT, prompts are not trained on here.
    - It starts from the SFT checkpoint, like every method here; the paper starts from the base
      model, and has ORPO do the work of SFT as well.
    """

    name: ClassVar[str] = "orpo"
    uses_reference: ClassVar[bool] = False

    beta: Strength = 0.1

    def losses(self, batch: PairLogprobs) -> PairLosses:
        """Eq. 6; the logged rewards are beta * log p, as in TRL."""
        from alignbench.training.preference_losses import PairLosses, orpo

        chosen, rejected = batch.chosen_mean, batch.rejected_mean
        loss = orpo(chosen, rejected, self.beta)
        figures = {"nll_loss": -chosen.mean()}
        return PairLosses(loss, self.beta * chosen, self.beta * rejected, figures)
