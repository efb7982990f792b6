"""Reinforcement learning from AI feedback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alignbench.metering.forecast import Forecast, Workload, add
from alignbench.methods.base import Inputs, Method, Need, Pair, Policy
from alignbench.methods.dpo import DPO
from alignbench.methods.onpolicy import Positive
from alignbench.methods.ppo import PPO
from alignbench.recipe.schema import RewardModel as RewardOptions

if TYPE_CHECKING:
    from alignbench.metering.meter import Meter

PROMPTS_AT_A_TIME = 64
"""Between two looks at the budget; rows decoded at a time are as many."""
SEED_STRIDE = 2**40
"""Between the seeds of successive calls of the decoder; seeds of runs are smaller."""


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

    example: ClassVar[Mapping[str, Any]] = {
        "prompts": 16,
        "dpo": {"learning_rate": 1e-3, "batch_size": 8},
    }

    prompts: Positive
    """Training prompts that are sampled and labelled, if the budget's labels allow."""
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
        if self.then == "dpo" and (self.ppo is not None or self.reward_model is not None):
            raise ValueError("then: dpo uses neither section ppo nor reward_model; remove them")
        if self.then == "ppo" and self.dpo is not None:
            raise ValueError("then: ppo does not use the section dpo; remove it")
        return self

    def needs_budget(self) -> bool:
        """As the second half does."""
        second = self.dpo if self.then == "dpo" else self.ppo
        return second is not None and second.needs_budget()

    def with_half_batch(self) -> Self | None:
        """The second half with half its micro-batch."""
        part = "dpo" if self.then == "dpo" else "ppo"
        second = getattr(self, part)
        smaller = None if second is None else second.with_half_batch()
        return None if smaller is None else self.model_copy(update={part: smaller})

    def forecast(self, work: Workload) -> Forecast | None:
        """Sampling, then DPO on all pairs (as if no two answers tied or were cut)."""
        if self.then != "dpo" or self.dpo is None:
            return None
        k = self.samples_per_prompt
        prompts = int(min(self.prompts, work.prompts, work.labels // k))
        second = self.dpo.forecast(replace(work, pairs=prompts * k * (k - 1) // 2))
        # Nobody has scored its pairs beforehand: the reference does it at every step.
        per_step = add(
            second.per_step, work.scored(2 * self.dpo.batch_size * self.dpo.gradient_accumulation)
        )
        labels = {"prompts": float(prompts), "ai_labels": float(prompts * k)}
        return replace(
            second, per_step=per_step, before=add(work.sampled(prompts, prompts * k), labels)
        )

    def train(self, policy: Policy, inputs: Inputs, meter: Meter) -> None:
        """Sample, label, pair; then DPO, or a reward model and PPO."""
        pairs = self.label(policy, inputs, meter)
        if meter.exhausted() is not None:
            inputs.note("warning", "rlaif: sampling has used up the budget; nothing was trained")
            return
        if self.then == "dpo":
            from alignbench.training.preference import train_on_pairs

            assert self.dpo is not None
            train_on_pairs(self.dpo, policy, pairs, inputs, meter)
            return
        from alignbench.training.ai_reward import train_ai_reward_then_ppo

        train_ai_reward_then_ppo(self, policy, pairs, inputs, meter)

    def label(self, policy: Policy, inputs: Inputs, meter: Meter) -> list[Pair]:
        """K samples of the start model for every prompt, ranked by the labeller, as pairs.

        It goes on until the prompts asked for are done, or the budget has not K labels left for
        another prompt, or nothing left for work at all.
        """
        from alignbench.models.decode import Decoding
        from alignbench.models.text import decode_response, encode_prompt

        assert inputs.labeller is not None
        k = self.samples_per_prompt
        decoding = Decoding(inputs.max_response_tokens, self.temperature)
        wanted = min(self.prompts, len(inputs.prompts))
        sampler = inputs.sampler(policy.model, policy.tokenizer, PROMPTS_AT_A_TIME)
        pairs: list[Pair] = []
        done = cut = 0
        while done < wanted and meter.exhausted() is None:
            size = int(min(PROMPTS_AT_A_TIME, wanted - done, meter.remaining("ai_labels") / k))
            if size == 0:
                break
            prompts = [inputs.prompts[n] for n in range(done, done + size)]
            ids = [encode_prompt(policy.tokenizer, prompt) for prompt in prompts for _ in range(k)]
            # Another seed for each call, since it numbers its rows from 0.
            seed = inputs.seed + done * SEED_STRIDE
            found = sampler.sample(ids, decoding, seed)
            for n, prompt in enumerate(prompts):
                # An answer cut at the limit is not ranked: as text it would look complete, and
                # training on it would teach an end where the model had none.
                own = [
                    decode_response(policy.tokenizer, completion.ids)
                    for completion in found[n * k : (n + 1) * k]
                    if completion.finished
                ]
                cut += k - len(own)
                # One answer alone makes no pair: no label is paid for it.
                if len(own) > 1:
                    pairs += ranked_pairs(prompt, own, inputs.labeller.utilities(prompt, own))
            done += size
        if done < self.prompts:
            why = "exist" if done == len(inputs.prompts) else "are within the budget"
            inputs.note("warning", f"only {done} of {self.prompts} prompts {why}")
        inputs.facts.update(labeller=inputs.labeller.name, ai_pairs=len(pairs), cut_answers=cut)
        return pairs
