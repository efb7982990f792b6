"""Group relative policy optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from alignbench.methods.onpolicy import OnPolicy

if TYPE_CHECKING:
    from torch import Tensor

    from alignbench.training.onpolicy import Rollout


class GRPO(OnPolicy):
    """GRPO: advantages are rewards standardised within the K samples of a prompt; no critic.

    Shao et al. 2024, arXiv:2402.03300, eq. 3 and 4: the KL term (k3 estimator) is in the loss, and
    with `kl_coef: 0` no reference model is held at all. Loss and KL term are TRL's.
    """

    name: ClassVar[str] = "grpo"
    loss_type: ClassVar[Literal["grpo", "bnpo", "luspo"]] = "grpo"

    normalize_advantages: bool = True

    @property
    def kl_in_loss(self) -> float:
        """The k3 term of the GRPO loss."""
        return self.kl_coef

    @property
    def kl_in_reward(self) -> float:
        """None: GRPO keeps the KL out of the reward."""
        return 0.0

    def advantages(self, rollout: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """(B,) group-normalised scores."""
        from alignbench.training.advantages import group_normalized

        return (
            group_normalized(rollout.scores, rollout.samples_per_prompt, self.normalize_advantages),
            {},
        )
