"""Best-of-n: the policy is left as it is, and the reward model chooses among n samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from alignbench.models.decode import Completion, Decoding
from alignbench.models.reward import RewardScorer

if TYPE_CHECKING:
    from alignbench.engines.sampler import Sampler

MISSING_EOS_PENALTY = 1.0
"""Standard deviations of the reward off the score of an answer cut at the length limit; the
default of the on-policy methods, so that both maximise the same thing."""


def best_of(
    sampler: Sampler,
    prompt_ids: Sequence[Sequence[int]],
    decoding: Decoding,
    seed: int,
    n: int,
    scorer: RewardScorer,
    progress: Callable[[int, int], None] | None = None,
) -> list[Completion]:
    """For each prompt the best of `n` samples by the reward model, in the order given.

    Samples of row i are rows i n to i n + n - 1 of one call of the sampler, so `n` = 1 is
    plain sampling. Of equal scores the first wins. All sampling and scoring is on the meter of
    whoever calls.

    Args:
        sampler: of the model that answers.
        prompt_ids: N prompts; repeat a prompt for several answers.
        n: samples per answer, at least 1.
        scorer: a reward model with its calibration.
        progress: called as ``progress(done, N * n)`` while sampling.
    """
    rows = [list(prompt) for prompt in prompt_ids for _ in range(n)]
    drawn = sampler.sample(rows, decoding, seed, progress)
    raw = scorer.score_ids(rows, [completion.ids for completion in drawn])
    missing = [not completion.finished for completion in drawn]
    scores = np.asarray(scorer.standardized(raw)) - MISSING_EOS_PENALTY * np.asarray(missing)
    best = scores.reshape(len(prompt_ids), n).argmax(axis=1)
    return [drawn[row * n + int(k)] for row, k in enumerate(best)]
