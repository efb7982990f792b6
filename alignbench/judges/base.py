"""What a judge is, and how its two verdicts on a pair become one outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

#: 1 = the first response is better, 2 = the second, 1.5 = a tie (AlpacaEval's convention).
Preference = float

#: Kinds of judge in a recipe -> the name that stands wherever their numbers are shown.
NAMES = {"sandbox": "sandbox (simulated judge)", "none": "gold reward model (no judge)"}
#: The kind whose verdicts come from a rule and from no person or model.
SIMULATED = "sandbox"

FIRST, TIE, SECOND = 1.0, 1.5, 2.0


@dataclass(frozen=True)
class Ratings:
    """Helpful, harmless, honest on 1-10; None = this judge does not rate it."""

    helpful: float | None
    harmless: float | None
    honest: float | None


class Judge(Protocol):
    """Rates one response, or compares two. A pair is always asked in both orders."""

    name: str

    def rate(self, prompt: str, response: str) -> Ratings:
        """Ratings of one response, each in 1..10."""
        ...

    def compare(self, prompt: str, first: str, second: str) -> Preference:
        """1 when `first` is better, 2 when `second` is, 1.5 for a tie."""
        ...


def outcome(order_ab: float, order_ba: float) -> tuple[float, bool]:
    """Outcome of a pair for its response A, from the verdicts in both orders.

    Args:
        order_ab: preference (1, 1.5 or 2) with A shown first.
        order_ba: preference with B shown first.

    Returns:
        (1.0 win, 0.5 tie or 0.0 loss of A, whether the verdicts agree). Verdicts that contradict
        each other (`order_ab` + `order_ba` is not 3) say more about the judge than about the
        responses and count as a tie.
    """
    consistent = order_ab + order_ba == FIRST + SECOND
    return (SECOND - order_ab if consistent else 0.5), consistent
