"""Best-of-n sampling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from alignbench.methods.base import Inputs, Method, Need, Policy

if TYPE_CHECKING:
    from alignbench.metering.meter import Meter


class BestOfN(Method):
    """best_of_n: no training; the reward model picks the best of n samples at decoding.

    Stiennon et al. 2020 (arXiv:2009.01325, sec. 4.3) use it as the yardstick of what a reward
    model is worth. All its cost is at decoding, on the bill of the generate stage. Departure: an
    answer cut at the length limit loses one standard deviation of the reward, as with the
    on-policy methods.
    """

    name: ClassVar[str] = "best_of_n"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.REWARD})
    code: ClassVar[tuple[str, ...]] = ("alignbench.models.best_of_n",)
    example: ClassVar[Mapping[str, Any]] = {"n": 4}

    n: Annotated[int, Field(ge=2)] = 8
    """Samples that each answer is chosen from."""

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        """Leave the policy as it is, and record how far the choice can be from it."""
        inputs.facts["kl_bound"] = self.kl_bound()
        meter.finished_early("nothing to train: best-of-n spends at decoding")

    def decoder(self) -> Mapping[str, Any]:
        """Tells the generate stage to choose."""
        return {"best_of": self.n}

    def kl_bound(self) -> float:
        """Upper bound, in nats, of KL(best-of-n || the policy sampled from).

        log n - (n - 1) / n (Beirami et al. 2024, arXiv:2401.01879, theorem 1), with equality only
        where no two answers are the same. The KL of the model itself is 0 and says nothing here.
        """
        return math.log(self.n) - (self.n - 1) / self.n
