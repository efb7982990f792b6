"""The sandbox's exact rule as a judge. Not a person and not a model: a simulated judge."""

from __future__ import annotations

from alignbench.judges.base import FIRST, NAMES, SECOND, TIE, Preference, Ratings
from alignbench.sandbox import gold


class SandboxJudge:
    """Rates and compares by `alignbench.sandbox.gold`; free of noise and of order effects."""

    name = NAMES["sandbox"]

    def rate(self, prompt: str, response: str) -> Ratings:
        """The exact rule's three rubrics, each 1-10.

        Raises:
            UserError: the prompt is not one of the sandbox's.
        """
        score = gold.score(prompt, response)
        return Ratings(score.helpful, score.harmless, score.honest)

    def compare(self, prompt: str, first: str, second: str) -> Preference:
        """The response with the higher overall score; 1.5 only when they are exactly equal."""
        score_first = gold.score(prompt, first).overall
        score_second = gold.score(prompt, second).overall
        if score_first == score_second:
            return TIE
        return FIRST if score_first > score_second else SECOND
