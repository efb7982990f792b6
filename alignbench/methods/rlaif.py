"""Reinforcement learning from AI feedback."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from alignbench.methods.base import Inputs, Method, Need, Pair, Policy
from alignbench.methods.dpo import DPO
from alignbench.methods.onpolicy import Positive
from alignbench.methods.ppo import PPO
from alignbench.recipe.schema import RewardModel as RewardOptions

if TYPE_CHECKING:
    from alignbench.methods.meter import Meter


def ranked_pairs(prompt: str, responses: Sequence[str], utilities: Sequence[float]) -> list[Pair]:
    """All pairs of distinct responses to a prompt that the labeller does not hold equal.

    K responses without ties give K (K - 1) / 2 pairs (Ouyang et al. 2022, sec. 3.5).
    """
    pairs = []
    for i, j in combinations(range(len(responses)), 2):
        if utilities[i] == utilities[j] or responses[i] == responses[j]:
            continue
        better, worse = (i, j) if utilities[i] > utilities[j] else (j, i)
        pairs.append(Pair(prompt, responses[better], responses[worse]))
    return pairs


class RLAIF(Method):
    """RLAIF: an AI labeller ranks K samples of the start model; all pairs train DPO or RM + PPO.

    Lee et al. 2023 (arXiv:2309.00267) and Bai et al. 2022 (arXiv:2212.08073). With `then: dpo` the
    pairs go to DPO; with `then: ppo` they train a reward model of its own and PPO follows it. No
    human label is used either way, unless the labeller was itself trained on some.
    """

    name: ClassVar[str] = "rlaif"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.PROMPTS, Need.LABELLER})
    code: ClassVar[tuple[str, ...]] = (
        *DPO.code,
        *PPO.code,
        "alignbench.methods.dpo",
        "alignbench.methods.ppo",
        "alignbench.training.ai_reward",
        "alignbench.stages.reward",
    )

    prompts: Positive
    """Training prompts that are sampled and labelled."""
    samples_per_prompt: Annotated[int, Field(ge=2)] = 4
    temperature: Annotated[float, Field(gt=0)] = 1.0
    then: Literal["dpo", "ppo"] = "dpo"
    dpo: DPO | None = None
    ppo: PPO | None = None
    reward_model: RewardOptions | None = None

    @model_validator(mode="after")
    def _options_of_second_half(self) -> RLAIF:
        if self.then == "dpo" and self.dpo is None:
            raise ValueError("then: dpo needs the section dpo (its learning_rate at least)")
        if self.then == "ppo" and (self.ppo is None or self.reward_model is None):
            raise ValueError("then: ppo needs the sections ppo and reward_model")
        return self

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        """Sample, label, pair; then DPO, or a reward model and PPO."""
        pairs = self.label(policy, inputs, meter)
        if self.then == "dpo":
            from alignbench.training.preference import train_on_pairs

            assert self.dpo is not None
            train_on_pairs(self.dpo, policy, pairs, inputs, meter)
            return
        from alignbench.training.ai_reward import train_ai_reward_then_ppo

        train_ai_reward_then_ppo(self, policy, pairs, inputs, meter)

    def label(self, policy: Policy, inputs: Inputs, meter: Meter) -> list[Pair]:
        """K samples of the start model for every prompt, ranked by the labeller, as pairs."""
        from alignbench.models.decode import Decoding, sample
        from alignbench.models.text import decode_response, encode_prompt

        assert inputs.labeller is not None
        prompts = list(inputs.prompts)[: self.prompts]
        if len(prompts) < self.prompts:
            inputs.note("warning", f"only {len(prompts)} of {self.prompts} prompts exist")
        k = self.samples_per_prompt
        ids = [encode_prompt(policy.tokenizer, prompt) for prompt in prompts for _ in range(k)]
        decoding = Decoding(inputs.max_response_tokens, self.temperature)
        done = sample(policy.model, policy.tokenizer, ids, decoding, inputs.seed, 64)
        meter.charge(
            prompts=len(prompts),
            ai_labels=sum(completion.finished for completion in done),
            tokens_generated=sum(len(completion.ids) for completion in done),
        )
        texts = [decode_response(policy.tokenizer, completion.ids) for completion in done]
        pairs: list[Pair] = []
        for n, prompt in enumerate(prompts):
            # An answer cut at the limit is not ranked: as text it would look complete, and
            # training on it would teach an end where the model had none.
            rows = [i for i in range(n * k, (n + 1) * k) if done[i].finished]
            own = [texts[i] for i in rows]
            pairs += ranked_pairs(prompt, own, inputs.labeller.utilities(prompt, own))
        inputs.facts.update(
            labeller=inputs.labeller.name,
            ai_pairs=len(pairs),
            cut_answers=sum(not completion.finished for completion in done),
        )
        return pairs
