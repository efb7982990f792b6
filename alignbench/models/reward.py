"""Reward models: one scoring path for training, RL and evaluation, and the 0-10 scale.

A response is scored on the ids ``prompt + completion``, EOS included when the response has one,
exactly as the reward model was trained (TRL scores re-decoded text without EOS: trl-notes, bite 4).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from alignbench.errors import UserError
from alignbench.models.load import load_reward
from alignbench.models.padding import right_pad
from alignbench.models.text import encode_prompt, encode_response


@dataclass(frozen=True)
class Calibration:
    """Maps raw scores, which have no unit, to 0-10: `10 * mean_j sigmoid(scale * (r - r_j))`.

    That is ten times the probability, by the Bradley-Terry model at the temperature which the
    held-out labels support, that a response is preferred to a random held-out response. It is
    strictly increasing in r; 5 is an even chance.

    Attributes:
        scale: a > 0, per unit of raw score.
        reference: raw scores r_j of held-out labelled responses.
    """

    scale: float
    reference: Sequence[float]

    def __call__(self, raw: Sequence[float]) -> list[float]:
        """Calibrated scores in (0, 10), one for each raw score."""
        z = self.scale * (np.asarray(raw)[:, None] - np.asarray(self.reference)[None, :])
        # tanh form of the sigmoid: no overflow at either end.
        return [float(v) for v in 5.0 + 5.0 * np.tanh(z / 2).mean(axis=1)]

    @classmethod
    def fit(cls, chosen: Sequence[float], rejected: Sequence[float]) -> Calibration:
        """Maximum likelihood of the labels: argmax_a sum_i log sigmoid(a (chosen_i - rejected_i)).

        With d the standard deviation of all scores, a * d is kept in [0.01, 10]: the likelihood
        has no maximum when all pairs are ranked right, and none above 0 when most are ranked wrong.
        """
        margins = np.asarray(chosen) - np.asarray(rejected)
        reference = [*map(float, chosen), *map(float, rejected)]
        spread = float(np.std(reference))
        if not spread > 0:  # NaN too
            raise UserError(
                "reward model: it gives all held-out responses the same score, or none; lower "
                "reward_model.learning_rate."
            )
        fit = minimize_scalar(
            lambda log_a: float(np.logaddexp(0, -np.exp(log_a) * margins).sum()),
            bounds=(np.log(0.01 / spread), np.log(10 / spread)),
            method="bounded",
            options={"xatol": 1e-10},
        )
        return cls(float(np.exp(fit.x)), reference)

    def save(self, path: Path) -> None:
        """Write ``{"scale": a, "reference": [r_j, ...]}``."""
        path.write_text(json.dumps({"scale": self.scale, "reference": list(self.reference)}))

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text()))


def _exact_head(model: PreTrainedModel) -> None:
    """Let the score head work in fp32: in bf16 scores would come in steps of 1/128 and more."""
    model.score.float().register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))


class RewardScorer:
    """Scores responses with a reward model; the same object serves RL and evaluation.

    Attributes:
        model: `*ForSequenceClassification` with one label.
        tokenizer: its tokenizer, with a pad token other than EOS.
        calibration: None for a model without one (`calibrated` then raises).
        batch_size: rows per forward pass; does not change the scores beyond float32 rounding.
        folder: of the reward stage it was loaded from, None otherwise.
    """

    folder: Path | None = None

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        calibration: Calibration | None = None,
        batch_size: int = 16,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.calibration = calibration
        self.batch_size = batch_size

    @classmethod
    def load(cls, folder: Path, precision: str = "fp32", batch_size: int = 16) -> RewardScorer:
        """From the output folder of a reward stage: ``model/`` and ``calibration.json``."""
        model, tokenizer = load_reward(folder / "model", precision)
        if precision != "fp32":
            _exact_head(model)
        scorer = cls(model, tokenizer, Calibration.load(folder / "calibration.json"), batch_size)
        scorer.folder = folder
        return scorer

    @torch.no_grad()
    def score_ids(
        self, prompt_ids: Sequence[Sequence[int]], completion_ids: Sequence[Sequence[int]]
    ) -> list[float]:
        """Raw scores of N completions given as token ids (EOS included if they have one)."""
        sequences = [[*p, *c] for p, c in zip(prompt_ids, completion_ids, strict=True)]
        order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
        scores = [0.0] * len(sequences)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            # transformers scores the last token that is not the pad id, hence padding on the
            # right with exactly that id.
            ids, mask = right_pad(
                [sequences[i] for i in rows], self.model.device, self.model.config.pad_token_id
            )
            logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            for row, score in zip(rows, logits[:, 0].float().tolist(), strict=True):
                scores[row] = score
        return scores

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        """Raw scores of N complete responses given as text (EOS is added)."""
        return self.score_ids(
            [encode_prompt(self.tokenizer, p) for p in prompts],
            [encode_response(self.tokenizer, r) for r in responses],
        )

    def standardized(self, raw: Sequence[float]) -> list[float]:
        """Raw scores less the mean, over the standard deviation, of the held-out responses.

        The unit in which methods receive their reward, so that a KL coefficient or a value clip
        means the same whatever scale a reward model came out with.
        """
        if self.calibration is None:
            raise ValueError("this scorer has no calibration; load it from a reward stage")
        reference = np.asarray(self.calibration.reference)
        return [float(v) for v in (np.asarray(raw) - reference.mean()) / reference.std()]

    def calibrated(self, raw: Sequence[float]) -> list[float]:
        """Raw scores on the 0-10 scale of `Calibration`."""
        if self.calibration is None:
            raise ValueError("this scorer has no calibration; load it from a reward stage")
        return self.calibration(raw)
