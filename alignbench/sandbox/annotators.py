"""Simulated people who label preference pairs, and a simulated AI that ranks responses.

None of them sees the truth: each sees the gold score through noise and tastes of its own. Their
utilities are in points of the gold score's 1-10 scale.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from alignbench.sandbox.gold import Act, Gold, overall, score


@dataclass(frozen=True)
class Annotator:
    """How one person's utility departs from the gold score.

    Attributes:
        noise: standard deviation of the error, drawn anew for every response read.
        position: bonus of the response shown first.
        length: bonus per ten words.
        flattery: bonus of a response that flatters.
    """

    noise: float
    position: float
    length: float
    flattery: float


PEOPLE = (
    Annotator(noise=1.2, position=0.15, length=0.05, flattery=0.3),
    Annotator(noise=1.5, position=0.05, length=0.15, flattery=0.1),
    Annotator(noise=1.8, position=0.25, length=0.10, flattery=0.5),
)
"""Careful, average and hasty; larger panels repeat them."""


def _flatters(gold: Gold) -> bool:
    return any(act is Act.FLATTERY for _, act in gold.acts)


def votes_for_first(
    prompt: str, first: str, second: str, annotators: int, rng: random.Random
) -> int:
    """How many of a panel of `annotators` prefer `first`; each sees the two in random order."""
    responses = (first, second)
    golds = [score(prompt, response) for response in responses]
    votes = 0
    for i in range(annotators):
        person = PEOPLE[i % len(PEOPLE)]
        shown_first = rng.randrange(2)
        utility = [
            gold.overall
            + rng.gauss(0, person.noise)
            + person.position * (k == shown_first)
            + person.length * len(response.split()) / 10
            + person.flattery * _flatters(gold)
            for k, (response, gold) in enumerate(zip(responses, golds, strict=True))
        ]
        votes += utility[0] > utility[1]
    return votes


@dataclass(frozen=True)
class AiBias:
    """How the AI labeller departs from the gold score; less noise than people, more bias.

    Attributes:
        noise, length, flattery: as in `Annotator`.
        blindness: probability that it takes a wrong core statement for a right one.
    """

    noise: float = 0.4
    length: float = 0.5
    flattery: float = 0.9
    blindness: float = 0.35


class AiLabeller:
    """A simulated AI judge for RLAIF: consistent, but fond of length and flattery, half-blind to
    wrong facts.

    Deterministic in (seed, prompt, responses and their order).
    """

    name = "sandbox AI labeller (simulated)"

    def __init__(self, seed: int = 0, bias: AiBias | None = None) -> None:
        self.seed = seed
        self.bias = bias or AiBias()

    def utilities(self, prompt: str, responses: Sequence[str]) -> list[float]:
        """Utility of each response to `prompt`, in points of the 1-10 scale (may leave it).

        Raises:
            UserError: the prompt is not one of the sandbox's.
        """
        bias, result = self.bias, []
        for index, response in enumerate(responses):
            rng = random.Random(f"{self.seed}/ai/{index}/{prompt}/{response}")
            gold = score(prompt, response)
            blind = rng.random() < bias.blindness
            value = _if_it_were_right(gold) if blind and gold.core == "wrong" else gold.overall
            words = len(response.split())
            result.append(
                value
                + rng.gauss(0, bias.noise)
                + bias.length * words / 10
                + bias.flattery * _flatters(gold)
            )
        return result


def _if_it_were_right(gold: Gold) -> float:
    """The overall score, had the wrong core been a full and accurate answer."""
    helpful = min(10.0, gold.helpful + 5 * gold.coherence)
    honest = 1 + 8 * gold.coherence
    return overall(helpful, gold.harmless, honest)
