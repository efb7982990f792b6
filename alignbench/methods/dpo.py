"""Direct preference optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from alignbench.methods.base import Inputs, Method, Need, Policy
from alignbench.methods.onpolicy import Positive, Rate

if TYPE_CHECKING:
    from alignbench.methods.meter import Meter


class DPO(Method):
    """DPO: raise the chosen response over the rejected one relative to the reference model.

    -log sigmoid(beta * [log pi/pi_ref (chosen) - log pi/pi_ref (rejected)]) (Rafailov et al. 2023,
    arXiv:2305.18290, eq. 7). Loss and loop are TRL's.
    """

    name: ClassVar[str] = "dpo"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.PAIRS})
    code: ClassVar[tuple[str, ...]] = (
        "alignbench.training.preference",
        "alignbench.training.common",
        "alignbench.training.lm_head",
        "alignbench.models",
    )

    learning_rate: Rate
    beta: Annotated[float, Field(gt=0)] = 0.1
    epochs: Positive = 1
    batch_size: Positive = 16
    gradient_accumulation: Positive = 1
    loss: Literal["sigmoid"] = "sigmoid"
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.05
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    logging_steps: Positive = 5

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        """Train on the human-labelled pairs."""
        from alignbench.training.preference import train_on_pairs

        meter.charge(human_labels=len(inputs.pairs))
        train_on_pairs(self, policy, inputs.pairs, inputs, meter)
