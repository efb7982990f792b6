"""Who answers the prompts of a rollout, and at which temperature.

Mostly that is the policy at one temperature. A group may also hold samples at several temperatures,
and responses of the frozen start model, to the prompt itself or to another one (`methods.grpo`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from alignbench.engines.sampler import Sampler
from alignbench.methods.onpolicy import Slot
from alignbench.models.decode import Completion, Decoding
from alignbench.models.logprobs import padded_logprobs
from alignbench.models.text import decode_response, encode_prompt
from alignbench.training.batching import by_length

SEED_STRIDE = 2**54
"""Between the seeds of a rollout's calls of the decoder, which would else share random numbers."""


@dataclass(frozen=True)
class Answers:
    """The responses of one rollout: B rows, the K of a prompt next to each other.

    Attributes:
        prompts: B texts.
        prompt_ids: B prompts as token ids, as the row is scored and trained on.
        completions: B responses; their log-probabilities are those of the model that sampled.
        slots: B origins.
    """

    prompts: list[str]
    prompt_ids: list[list[int]]
    completions: list[Completion]
    slots: list[Slot]

    def on_policy(self, device: torch.device) -> Tensor:
        """(B,) bool: sampled from the policy."""
        return torch.tensor([slot.source == "policy" for slot in self.slots], device=device)

    def temperatures(self, device: torch.device) -> Tensor:
        """(B,) float64, each row's own."""
        values = [slot.temperature for slot in self.slots]
        return torch.tensor(values, dtype=torch.float64, device=device)

    def finished(self) -> Tensor:
        """(B,) float32: 1 where the response ended by itself."""
        return torch.tensor([float(completion.finished) for completion in self.completions])

    def logprobs(self, width: int, device: torch.device) -> Tensor:
        """(B, width) log-probabilities under the model that sampled, 0 on padding."""
        padded = torch.zeros(len(self.completions), width)
        for row, completion in enumerate(self.completions):
            padded[row, : len(completion.logprobs)] = torch.tensor(completion.logprobs)
        return padded.to(device)

    def texts(self, tokenizer: Any) -> list[str]:
        """B responses as text."""
        return [decode_response(tokenizer, completion.ids) for completion in self.completions]


def answer(
    slots: Sequence[Slot],
    prompts: Sequence[str],
    policy: Sampler,
    start: Sampler | None,
    tokenizer: Any,
    max_new_tokens: int,
    seed: int,
) -> Answers:
    """Sample a response for each entry of `prompts`; row i is that of ``slots[i % K]``.

    Args:
        slots: K origins.
        prompts: B = n K texts, the K of a prompt next to each other.
        policy: samples from the model that is trained, as it is now.
        start: samples from the frozen start model; may be None if all slots are the policy's.
        seed: of the rollout.
    """
    rows = [slots[i % len(slots)] for i in range(len(prompts))]
    own = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    asked = [list(ids) for ids in own]
    other = other_prompts(prompts, rows)
    for i, prompt in other.items():
        asked[i] = encode_prompt(tokenizer, prompt)
    kinds = [(slot.source == "policy", slot.temperature) for slot in rows]
    done: dict[int, Completion] = {}
    for n, (own_sample, temperature) in enumerate(dict.fromkeys(kinds)):
        members = [i for i, kind in enumerate(kinds) if kind == (own_sample, temperature)]
        sampler = policy if own_sample else start
        assert sampler is not None
        completions = sampler.sample(
            [asked[i] for i in members],
            Decoding(max_new_tokens, temperature),
            seed + n * SEED_STRIDE,
        )
        done.update(zip(members, completions, strict=True))
    return Answers(list(prompts), own, [done[i] for i in range(len(rows))], rows)


def other_prompts(prompts: Sequence[str], rows: Sequence[Slot]) -> dict[int, str]:
    """For each row of a ``bad`` answer, the prompt that it answers in truth.

    The j-th bad answer of a prompt belongs to the j-th distinct prompt after it, in turn. Where
    the rollout has no other prompt, it is a plain answer of the start model.
    """
    distinct = list(dict.fromkeys(prompts))
    used = dict.fromkeys(distinct, 0)
    found = {}
    for i, (prompt, row) in enumerate(zip(prompts, rows, strict=True)):
        if row.source == "bad" and len(distinct) > 1:
            step = 1 + used[prompt] % (len(distinct) - 1)
            found[i] = distinct[(distinct.index(prompt) + step) % len(distinct)]
            used[prompt] += 1
    return found


def tempered_logprobs(
    model: Any, ids: Tensor, attention: Tensor, keep: int, temperatures: Tensor
) -> tuple[Tensor, Tensor]:
    """`padded_logprobs` of rows that have each their own temperature.

    Args:
        ids: (B, P + keep), prompts padded to the left, responses to the right.
        attention: (B, P + keep).
        keep: T, the width of the responses.
        temperatures: (B,) float64.

    Returns:
        Log-probabilities and entropies, (B, T) each; 0 on padding to the right.
    """
    parts, members = [], []
    for temperature in sorted(set(temperatures.tolist())):
        rows = (temperatures == temperature).nonzero()[:, 0]
        forward = partial(padded_logprobs, model, temperature=temperature)
        parts.append(by_length(forward, ids[rows], attention[rows], keep))
        members.append(rows)
    back = torch.cat(members).argsort()
    logprobs, entropies = (torch.cat(column)[back] for column in zip(*parts, strict=True))
    return logprobs, entropies
