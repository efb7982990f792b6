"""Kahneman-Tversky optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from alignbench.methods.preference import PreferenceMethod, Strength

if TYPE_CHECKING:
    from alignbench.training.preference_losses import PairLogprobs, PairLosses


class KTO(PreferenceMethod):
    """KTO: each response is good or bad on its own, against a reference point of both models.

    weight * (1 - sigmoid(+-beta * (log pi/pi_ref (y) - z))), + for a desirable y and - for an
    undesirable one; z estimates KL(pi || pi_ref) on mismatched prompts and responses, is at least
    0 and passes no gradient (L_KTO in sec. 4 of Ethayarajh et al. 2024,
    arXiv:2402.01306; eq. 7 as TRL counts).

    From pairs: every chosen response is desirable and every rejected one undesirable, so there are
    as many of one as of the other and both weights can be 1. The loss is the mean over responses.

    z is the mean log-ratio of each prompt with the response of the pair before it in the batch,
    chosen and rejected alike. It costs a second forward pass of policy and reference, which is on
    the bill. Departures:

    - z is that of one forward pass (`batch_size` pairs), not of the whole step under gradient
      accumulation. TRL does the same.
    - TRL's KTOTrainer shuffles responses; here a batch holds both responses of each of its pairs,
      and pairs of similar length. TRL also fixes the mismatches once, before training; here they
      are drawn from the batch at hand, as in the paper.
    - Two pairs of the same prompt may meet as "mismatched"; a last batch of one pair has z = 0.
    """

    name: ClassVar[str] = "kto"
    uses_mismatches: ClassVar[bool] = True

    beta: Strength = 0.1
    batch_size: Annotated[int, Field(ge=2)] = 16
    """Pairs in a forward pass; 2 at least, for a prompt needs another one's response."""
    desirable_weight: Annotated[float, Field(gt=0)] = 1.0
    undesirable_weight: Annotated[float, Field(gt=0)] = 1.0

    def losses(self, batch: PairLogprobs) -> PairLosses:
        """L_KTO, averaged over the two responses of each pair."""
        from alignbench.training.preference_losses import PairLosses, kto, reference_point

        z = reference_point(batch.mismatched_ratios)
        chosen, rejected = batch.chosen_ratio, batch.rejected_ratio
        weights = self.desirable_weight, self.undesirable_weight
        loss = kto(chosen, rejected, z, self.beta, *weights)
        return PairLosses(loss, self.beta * chosen, self.beta * rejected, {"kl": z})
