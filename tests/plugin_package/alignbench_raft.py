"""Reward-ranked fine-tuning, as a plug-in for alignbench."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from alignbench.errors import UserError
from alignbench.methods.base import Inputs, Method, Need, Policy


class RAFT(Method):
    """raft: fine-tune on the best of K samples per prompt, chosen by the reward model.

    Dong et al. 2023, arXiv:2304.06767. Departure: one update per round, no replay of old answers.
    """

    name: ClassVar[str] = "raft"
    needs: ClassVar[frozenset[Need]] = frozenset({Need.PROMPTS, Need.REWARD})
    example: ClassVar[Mapping[str, Any]] = {"learning_rate": 1e-3, "prompts_per_round": 4}

    learning_rate: float = Field(gt=0, lt=1)
    prompts_per_round: int = Field(default=16, gt=0)
    samples_per_prompt: int = Field(default=4, ge=2)
    temperature: float = Field(default=1.0, gt=0)

    def needs_budget(self) -> bool:
        return True  # there is always another round

    def train(self, policy: Policy, inputs: Inputs, meter: Any) -> None:
        import torch

        from alignbench.models.decode import Decoding, sample
        from alignbench.models.logprobs import padded_logprobs
        from alignbench.models.padding import left_pad, right_pad
        from alignbench.models.text import encode_prompt

        if not inputs.prompts:
            raise UserError("raft: there are no training prompts")
        k, device = self.samples_per_prompt, policy.model.device
        decoding = Decoding(inputs.max_response_tokens, self.temperature)
        optimizer = torch.optim.AdamW(policy.model.parameters(), lr=self.learning_rate)
        rng, rounds = random.Random(inputs.seed), 0
        while meter.exhausted() is None:
            rounds += 1
            numbers = [rng.randrange(len(inputs.prompts)) for _ in range(self.prompts_per_round)]
            asked = [encode_prompt(policy.tokenizer, inputs.prompts[n]) for n in numbers]
            rows = [ids for ids in asked for _ in range(k)]
            drawn = sample(policy.model, policy.tokenizer, rows, decoding, rng.getrandbits(32), 64)
            scores = torch.tensor(inputs.reward.score_ids(rows, [done.ids for done in drawn]))
            best = scores.view(-1, k).argmax(dim=1).tolist()
            kept = [drawn[n * k + choice].ids for n, choice in enumerate(best)]
            (left, left_mask), (right, right_mask) = (
                left_pad(asked, device),
                right_pad(kept, device),
            )
            ids, mask = torch.cat([left, right], 1), torch.cat([left_mask, right_mask], 1)
            logprobs, _ = padded_logprobs(policy.model, ids, mask, right.size(1))
            loss = -(logprobs * right_mask).sum() / right_mask.sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
            optimizer.step()
            inputs.log(rounds, loss=loss.item(), reward_raw=scores.mean().item())
