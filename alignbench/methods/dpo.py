"""Direct preference optimisation."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alignbench.methods.preference import PreferenceMethod, Strength

_SMOOTHED = ("robust", "exo_pair", "aot")
"""Losses that look at `label_smoothing`."""


class DPO(PreferenceMethod):
    """DPO: raise the chosen response over the rejected one relative to the reference model.

    -log sigmoid(beta * [log pi/pi_ref (chosen) - log pi/pi_ref (rejected)]) (Rafailov et al. 2023,
    arXiv:2305.18290, eq. 7), log pi being the sum over the response's tokens, EOS included. Loss
    and loop are TRL's.

    `loss` puts another of TRL's losses in place of eq. 7: hinge (SLiC, arXiv:2305.10425), robust
    (arXiv:2403.00409), exo_pair (arXiv:2402.00856), nca_pair (arXiv:2402.05369), sppo_hard (one
    offline round of arXiv:2405.00675), aot (arXiv:2406.05882; sorts within the batch, so its size
    matters), apo_zero and apo_down (arXiv:2408.06266), discopop (arXiv:2406.08414), sigmoid_norm
    (eq. 7 over log-ratios per token). Not offered: ipo, which is the method `ipo`; sft, which
    ignores the rejected response; bco_pair, which lacks its paper's reward shift in TRL;
    aot_unpaired, which takes the pairs apart.
    """

    name: ClassVar[str] = "dpo"

    beta: Strength = 0.1
    loss: Literal[
        "sigmoid",
        "hinge",
        "robust",
        "exo_pair",
        "nca_pair",
        "sppo_hard",
        "aot",
        "apo_zero",
        "apo_down",
        "discopop",
        "sigmoid_norm",
    ] = "sigmoid"
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Share of labels believed to be wrong; for robust, exo_pair (must be above 0) and aot."""

    @model_validator(mode="after")
    def _smoothing_fits_loss(self) -> Self:
        if self.label_smoothing and self.loss not in _SMOOTHED:
            raise ValueError(
                f"label_smoothing has no effect on loss: {self.loss}; "
                f"it belongs to {', '.join(_SMOOTHED)}"
            )
        if self.loss == "exo_pair" and not self.label_smoothing:
            raise ValueError("loss: exo_pair needs a label_smoothing above 0 (its paper: 0.001)")
        return self

    def trl_loss(self) -> dict[str, Any]:
        """TRL's loss of that name."""
        return {
            "beta": self.beta,
            "loss_type": [self.loss],
            "label_smoothing": self.label_smoothing,
        }
