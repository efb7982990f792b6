"""The gold reward model in a judge's place, for data that comes without one."""

from __future__ import annotations

from collections.abc import Mapping

from alignbench.judges.base import FIRST, NAMES, SECOND, TIE, Preference, Ratings


class RewardModelJudge:
    """Prefers the response that the gold reward model scores higher; rates nothing.

    Args:
        scores: raw reward by (prompt, response), scored beforehand in batches.
    """

    name = NAMES["none"]

    def __init__(self, scores: Mapping[tuple[str, str], float]) -> None:
        self._scores = scores

    def rate(self, prompt: str, response: str) -> Ratings:
        """Unknown: one scalar says nothing about three rubrics."""
        return Ratings(None, None, None)

    def compare(self, prompt: str, first: str, second: str) -> Preference:
        """The response with the higher raw reward; 1.5 when they are equal."""
        score_first, score_second = self._scores[prompt, first], self._scores[prompt, second]
        if score_first == score_second:
            return TIE
        return FIRST if score_first > score_second else SECOND
