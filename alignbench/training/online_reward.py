"""A reward model that is refreshed on AI-labelled samples of the policy as the policy changes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from alignbench.methods.base import Inputs
from alignbench.methods.onpolicy import OnlineReward
from alignbench.models.padding import right_pad
from alignbench.training.mixed import Answers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alignbench.metering.meter import Meter

MAX_GRAD_NORM = 1.0
Pair = tuple[list[int], list[int]]
"""Token ids of prompt + response: the better one, the worse one."""


class OnlineRewardModel:
    """Scores like the reward model it was copied from, until the first refresh.

    The given reward model stays as it is. A refresh moves all raw scores by some amount and scale,
    which Bradley-Terry training leaves open; they are mapped back linearly, so that the newest
    rollout's scores have the mean and standard deviation that they had before. So the
    standardisation and the calibration of the original stay in use, and a refresh changes which
    responses score high and not how much reward there is, which a KL coefficient, a critic and a
    value clip are tuned to.
    """

    def __init__(self, options: OnlineReward, inputs: Inputs, meter: Meter) -> None:
        if inputs.reward is None or inputs.labeller is None:
            raise ValueError("online_reward: needs a reward model and a labeller")
        self.options, self.inputs, self.meter = options, inputs, meter
        self.labeller = inputs.labeller
        self.scorer = copy.copy(inputs.reward)
        self.scorer.model = copy.deepcopy(inputs.reward.model).requires_grad_(True)
        self.optimizer = torch.optim.AdamW(
            self.scorer.model.parameters(), lr=options.learning_rate, weight_decay=0.0
        )
        self.offset, self.scale = 0.0, 1.0
        self.random = np.random.default_rng([inputs.seed, 0x5EED])
        self.pool: list[Pair] = []
        self.out_of_labels = False
        self.facts = {"refreshes": 0, "ai_labels": 0, "pairs": 0}
        inputs.facts["online_reward"] = self.facts

    def score_ids(
        self, prompt_ids: Sequence[Sequence[int]], completion_ids: Sequence[Sequence[int]]
    ) -> list[float]:
        """As `RewardScorer.score_ids`, in the original's unit."""
        raw = self.scorer.score_ids(prompt_ids, completion_ids)
        return [self.offset + self.scale * score for score in raw]

    def standardized(self, raw: Sequence[float]) -> list[float]:
        """As `RewardScorer.standardized`."""
        return self.scorer.standardized(raw)

    def refresh(self, answers: Answers, scores: Sequence[float]) -> float | None:
        """Have pairs of these responses labelled and train on them.

        Args:
            answers: the newest rollout.
            scores: its raw scores, as `score_ids` gives them now.

        Returns:
            Share of the new pairs that the model ranked as the labeller before it was trained;
            None without a pair (no labels left, nothing to compare, or ties only).
        """
        rows = self._label(answers)
        if not rows:
            return None
        better, worse = (np.asarray(scores)[list(side)] for side in zip(*rows, strict=True))
        agreement = float((np.sign(better - worse) + 1).mean() / 2)
        ids = [
            [*prompt, *completion.ids]
            for prompt, completion in zip(answers.prompt_ids, answers.completions, strict=True)
        ]
        self.pool += [(ids[i], ids[j]) for i, j in rows]
        self.facts["pairs"] += len(rows)
        self.facts["refreshes"] += 1
        for _ in range(self.options.steps):
            self._step()
        self._rescale(answers, scores)
        return agreement

    def _label(self, answers: Answers) -> list[tuple[int, int]]:
        """Row numbers (better, worse) of newly labelled pairs; 2 labels per pair compared."""
        if self.out_of_labels or self.meter.exhausted() is not None:
            return []
        texts = answers.texts(self.scorer.tokenizer)
        candidates = list(self._candidates(answers, texts))
        wanted = min(self.options.pairs, len(candidates))
        affordable = int(min(wanted, self.meter.remaining("ai_labels") / 2))
        if affordable < wanted:
            self.out_of_labels = True
            refreshes = self.facts["refreshes"] + (affordable > 0)
            self.inputs.note(
                "warning",
                "the budget has no AI labels left: the reward model is not refreshed any more "
                f"(after {refreshes} refreshes)",
            )
        pairs = []
        for k in self.random.permutation(len(candidates))[:affordable]:
            i, j = candidates[k]
            first, second = self.labeller.utilities(answers.prompts[i], [texts[i], texts[j]])
            self.facts["ai_labels"] += 2
            if first != second:
                pairs.append((i, j) if first > second else (j, i))
        return pairs

    def _candidates(self, answers: Answers, texts: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Disjoint pairs of rows: two different complete responses to one prompt."""
        groups: dict[str, dict[str, int]] = {}
        for row, (prompt, text) in enumerate(zip(answers.prompts, texts, strict=True)):
            # One cut at the limit would look complete as text.
            if answers.completions[row].finished:
                groups.setdefault(prompt, {}).setdefault(text, row)
        for distinct in groups.values():
            rows = self.random.permutation(list(distinct.values())).tolist()
            yield from zip(rows[::2], rows[1::2], strict=False)

    def _step(self) -> None:
        """One Bradley-Terry update on pairs drawn from the pool."""
        model = self.scorer.model
        size = min(self.options.batch_size, len(self.pool))
        drawn = [self.pool[k] for k in self.random.choice(len(self.pool), size, replace=False)]
        sequences = [better for better, _ in drawn] + [worse for _, worse in drawn]
        ids, mask = right_pad(sequences, model.device, model.config.pad_token_id)
        raw = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, 0].float()
        better, worse = raw.chunk(2)
        loss = -logsigmoid(better - worse).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _rescale(self, answers: Answers, before: Sequence[float]) -> None:
        """Map raw scores so that these responses keep their mean and standard deviation."""
        completions = [completion.ids for completion in answers.completions]
        raw = np.asarray(self.scorer.score_ids(answers.prompt_ids, completions))
        if raw.std() > 0 and np.std(before) > 0:
            self.scale = float(np.std(before) / raw.std())
        self.offset = float(np.mean(before) - self.scale * raw.mean())
