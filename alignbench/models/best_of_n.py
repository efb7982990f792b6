"""Best-of-n: the policy is left as it is, and the reward model chooses among n samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from alignbench.models.decode import Completion, Decoding, sample
from alignbench.models.reward import RewardScorer

MISSING_EOS_PENALTY = 1.0
"""Standard deviations of the reward off the score of an answer cut at the length limit; the
default of the on-policy methods, so that both maximise the same thing."""


def best_of(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt_ids: Sequence[Sequence[int]],
    decoding: Decoding,
    seed: int,
    batch_size: int,
    n: int,
    scorer: RewardScorer,
    progress: Callable[[int, int], None] | None = None,
) -> list[Completion]:
    """For each prompt the best of `n` samples by the reward model, in the order given.

    Samples of row i are rows i n to i n + n - 1 of one call of `sample`, so `n` = 1 is plain
    sampling. Of equal scores the first wins. All sampling and scoring goes through hooked models
    and is on the meter of whoever calls.

    Args:
        prompt_ids: N prompts; repeat a prompt for several answers.
        n: samples per answer, at least 1.
        scorer: a reward model with its calibration.
        progress: called as ``progress(done, N * n)`` while sampling.
    """
    rows = [list(prompt) for prompt in prompt_ids for _ in range(n)]
    drawn = sample(model, tokenizer, rows, decoding, seed, batch_size, progress)
    raw = scorer.score_ids(rows, [completion.ids for completion in drawn])
    missing = [not completion.finished for completion in drawn]
    scores = np.asarray(scorer.standardized(raw)) - MISSING_EOS_PENALTY * np.asarray(missing)
    best = scores.reshape(len(prompt_ids), n).argmax(axis=1)
    return [drawn[row * n + int(k)] for row, k in enumerate(best)]
