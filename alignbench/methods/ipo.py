"""Identity preference optimisation."""

from __future__ import annotations

from typing import Any, ClassVar

from alignbench.methods.preference import PreferenceMethod, Strength


class IPO(PreferenceMethod):
    """IPO: pull the gap between the log-ratios of chosen and rejected to 1 / (2 beta), no further.

    (h - 1 / (2 beta))^2, h = log pi/pi_ref (chosen) - log pi/pi_ref (rejected) (Azar et al. 2023,
    arXiv:2310.12036, eq. 17; beta is the paper's tau). Where DPO's loss goes on rewarding a larger
    gap, this one has its minimum at a finite gap, however clear the preference. Loss and loop are
    TRL's.

    Departure: each log-ratio in h is divided by the number of its response's tokens, as TRL does
    (after asking the authors, whose results had it too). Summed over tokens, h and with it the
    best beta would grow with the length of the responses. The logged rewards are
    beta * log-ratio, summed, like DPO's.
    """

    name: ClassVar[str] = "ipo"

    beta: Strength = 0.1

    def trl_loss(self) -> dict[str, Any]:
        """TRL's `ipo`."""
        return {"beta": self.beta, "loss_type": ["ipo"]}
