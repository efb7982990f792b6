"""Group relative policy optimisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from alignbench.methods.onpolicy import OnPolicy, Positive, Slot, Temperature

if TYPE_CHECKING:
    from torch import Tensor

    from alignbench.training.advantages import Rollout

CISPO_CLIP = 5.0
"""Upper bound of CISPO's weights that TRL recommends, after ScaleRL (arXiv:2510.13786)."""
MAX_RATIO = 10.0
"""Upper bound of the importance weight of a token that the policy did not sample itself."""
SEQUENCE_LOSSES = ("grpo", "sapo", "luspo")
UNCLIPPED_LOSSES = ("sapo", "vespo")


class Mix(BaseModel):
    """How many of a prompt's responses come from where; the sum is `samples_per_prompt`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    policy: Positive
    sft: Annotated[int, Field(ge=0)] = 0
    """From the frozen SFT model."""
    bad: Annotated[int, Field(ge=0)] = 0
    """From the SFT model as well, but as answers to other prompts of the rollout."""


class GRPO(OnPolicy):
    """GRPO: advantages are rewards standardised within the K samples of a prompt; no critic.

    Shao et al. 2024, arXiv:2402.03300, eq. 3 and 4: the KL term (k3 estimator) is in the loss, and
    with `kl_coef: 0` no reference model is held at all, unless `mix` samples from it. Loss and KL
    term are TRL's.

    Variants of the loss: `dr_grpo` (arXiv:2503.20783, with `normalize_advantages: false`), `dapo`
    (arXiv:2503.14476, with `clip_high: 0.28`), GSPO (`importance: sequence`, arXiv:2507.18071),
    `luspo` (GSPO without its length bias, arXiv:2602.05261), `cispo` (arXiv:2506.13585), `sapo`
    (arXiv:2511.20347), `vespo` (arXiv:2602.10693).

    Variants of sampling, both to keep some contrast in every group:

    * `temperatures`: the policy's sample j is drawn, and trained on, at the j-th temperature (in
      turn). Each temperature is a policy of its own with the same weights; ratios and KL terms
      compare policies of one temperature, the group's mean is over all.
    * `mix`: some responses come from the SFT model, and some are its answers to other prompts of
      the rollout, which are fluent and beside the point. No label and no data beyond the prompts
      is used for them, and the reward model scores them as any other. (Rejected answers of the
      human pairs would have put human labels on the bill.) They are not on-policy and are not
      treated as if: the importance ratio of their tokens is taken against the probabilities with
      which they were really sampled. So a bad answer that the policy would hardly give is not
      pushed down further (its ratio is below the clip), and a good one counts as much as the
      policy could have given it. Ratios end at 10; the KL term on these rows is
      unweighted: a penalty, and no estimate of the divergence.
    """

    name: ClassVar[str] = "grpo"

    normalize_advantages: bool = True
    loss: Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "vespo", "luspo"] = "grpo"
    importance: Literal["token", "sequence"] = "token"
    """Ratio of each token, or the geometric mean over the response."""
    clip_high: Annotated[float, Field(gt=0)] | None = None
    """Upper clip of the ratio, as a distance from 1; None: `clip`. With `loss: cispo` the largest
    weight itself; None: 5."""
    temperatures: Annotated[list[Temperature], Field(min_length=1)] | None = None
    """Of the policy's samples, in turn; None: `temperature` for all."""
    mix: Mix | None = None

    @model_validator(mode="after")
    def _options_agree(self) -> Self:
        own = self.samples_per_prompt if self.mix is None else self.mix.policy
        if self.temperatures is not None and len(self.temperatures) > own:
            raise ValueError(
                f"temperatures: {len(self.temperatures)} are given, but the policy has {own} "
                "samples per prompt"
            )
        if self.mix is not None:
            total = self.mix.policy + self.mix.sft + self.mix.bad
            if total != self.samples_per_prompt:
                raise ValueError(
                    f"mix: its parts add up to {total}, and samples_per_prompt is "
                    f"{self.samples_per_prompt}; make them equal"
                )
            if self.mix.bad and self.prompts_per_rollout < 2:
                raise ValueError(
                    "mix.bad: needs other prompts; set prompts_per_rollout to 2 or more"
                )
        if self.importance == "sequence" and self.loss not in SEQUENCE_LOSSES:
            raise ValueError(
                f"importance: sequence goes with loss: {', '.join(SEQUENCE_LOSSES)}, "
                f"and not with {self.loss}"
            )
        if "clip" in self.model_fields_set and self.loss in ("cispo", "sapo", "vespo"):
            raise ValueError(f"clip: loss {self.loss} has no use for it; remove it")
        if self.mix is not None and self.loss == "cispo" and (self.clip_high or 0) > MAX_RATIO:
            raise ValueError(f"clip_high: with mix, at most {MAX_RATIO:g} (the largest ratio)")
        if self.loss == "luspo" and self.importance != "sequence":
            raise ValueError("loss: luspo is defined with importance: sequence; set it")
        if self.clip_high is not None and self.loss in UNCLIPPED_LOSSES:
            raise ValueError(f"clip_high: loss {self.loss} does not clip")
        if self.clip_high is not None and self.loss == "cispo" and self.clip_high < 1:
            raise ValueError("clip_high: with loss cispo it is the largest weight; 1 or more")
        return self

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The policy's samples at their temperatures, then those of others."""
        mix = self.mix or Mix(policy=self.samples_per_prompt)
        ladder = self.temperatures or [self.temperature]
        return (
            *(Slot("policy", ladder[j % len(ladder)]) for j in range(mix.policy)),
            *(Slot("sft", self.temperature) for _ in range(mix.sft)),
            *(Slot("bad", self.temperature) for _ in range(mix.bad)),
        )

    @property
    def kl_in_loss(self) -> float:
        """The k3 term of the GRPO loss."""
        return self.kl_coef

    @property
    def kl_in_reward(self) -> float:
        """None: GRPO keeps the KL out of the reward."""
        return 0.0

    def loss_settings(self) -> Mapping[str, Any]:
        """The chosen variant; with others' responses, bounded weights and the KL's correction."""
        high = self.clip_high or (CISPO_CLIP if self.loss == "cispo" else self.clip)
        mixed = any(slot.source != "policy" for slot in self.slots)
        return {
            "loss_type": self.loss,
            "importance_sampling_level": self.importance,
            "beta": self.kl_in_loss,
            "epsilon": self.clip,
            "epsilon_high": high,
            "delta": max(MAX_RATIO, 1 + high) if mixed else None,
            # TRL would weigh the KL by ratios that it clamps only afterwards.
            "use_bias_correction_kl": False,
        }

    def advantages(self, rollout: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """(B,) group-normalised scores."""
        from alignbench.training.advantages import group_normalized

        return (
            group_normalized(rollout.scores, rollout.samples_per_prompt, self.normalize_advantages),
            {},
        )
