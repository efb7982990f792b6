"""Who labelled a run, whether they read what they labelled, and how they agree with each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from alignbench.judges.base import FIRST, RUBRICS, SECOND
from alignbench.results.trust import Key
from alignbench.stats.agreement import cohen_kappa, krippendorff_alpha

Record = dict[str, Any]
#: Annotators who get a smaller share of their gold questions right are left out ...
LEAST_RIGHT = 0.75
#: ... if they answered as many as this: of fewer, chance would decide.
LEAST_ASKED = 3


@dataclass(frozen=True)
class Told:
    """One person's answer about two answers.

    Attributes:
        annotator: who; None where the label does not say.
        own, other: the two answers.
        preference: 1 = own is better, 1.5 = a tie, 2 = other is.
        ratings: ``response`` (own) and ``other`` -> rubric -> 1-10, as far as given.
    """

    annotator: str | None
    own: Key
    other: Key
    preference: float
    ratings: Mapping[str, Mapping[str, int]]

    def turned(self) -> Told:
        """The same, with the two answers in the other order."""
        sides = {"response": "other", "other": "response"}
        ratings = {sides[side]: rated for side, rated in self.ratings.items()}
        preference = FIRST + SECOND - self.preference
        return Told(self.annotator, self.other, self.own, preference, ratings)

    def rated(self) -> Iterator[tuple[Key, str, int]]:
        """(answer, rubric, rating) of every rating given."""
        for side, answer in (("response", self.own), ("other", self.other)):
            for rubric, rating in self.ratings.get(side, {}).items():
                yield answer, rubric, rating


@dataclass(frozen=True)
class Annotator:
    """One annotator: answers that measure, and gold questions asked and answered rightly."""

    name: str
    answers: int
    gold: int
    right: int

    @property
    def excluded(self) -> bool:
        """Whether this one's answers are left out."""
        return self.gold >= LEAST_ASKED and self.right < LEAST_RIGHT * self.gold

    def record(self) -> Record:
        """One of ``annotators`` in results.json."""
        return {**vars(self), "excluded": self.excluded}


def screen(labels: Sequence[Mapping[str, Any]]) -> list[Annotator]:
    """Everybody who is named in labels.jsonl, in order; a tie is no right answer to gold."""
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for label in labels:
        if label["annotator"] is not None:
            found[label["annotator"]].append(label)
    annotators = []
    for name, own in found.items():
        gold = [label for label in own if label.get("expected") is not None]
        right = sum(label["preference"] == label["expected"] for label in gold)
        annotators.append(Annotator(name, len(own) - len(gold), len(gold), right))
    return annotators


def agreement(told: Sequence[Told]) -> Record:
    """How annotators agree on what several of them looked at.

    Returns:
        ``items``: pairs of answers that two or more compared. ``kappas``: for every two who share
        items, Cohen's kappa of their choices and the share of equal choices in percent.
        ``choice``: Krippendorff's alpha over all, choices as mere labels and in the order worse,
        tie, better. ``ratings``: rubric -> alpha of ratings as ranks and as numbers. Unknown is
        None.
    """
    names = list(dict.fromkeys(one.annotator for one in told if one.annotator is not None))
    choices: dict[Any, dict[str, float]] = defaultdict(dict)
    rated: dict[str, dict[Any, dict[str, float]]] = {r: defaultdict(dict) for r in RUBRICS}
    for one in told:
        if one.annotator is None:
            continue
        choices[one.own, one.other][one.annotator] = one.preference
        for answer, rubric, rating in one.rated():
            # The answers of one comparison: who rates an answer beside another rates it anew.
            rated[rubric][one.own, one.other, answer][one.annotator] = rating
    return {
        "items": sum(len(given) > 1 for given in choices.values()),
        "kappas": [
            pair
            for a, b in combinations(names, 2)
            if (pair := _pair(a, b, list(choices.values()))) is not None
        ],
        "choice": _alphas(choices, names, ("nominal", "ordinal")),
        "ratings": {r: _alphas(rated[r], names, ("ordinal", "interval")) for r in RUBRICS},
    }


def _pair(a: str, b: str, choices: Sequence[Mapping[str, float]]) -> Record | None:
    both = [(given[a], given[b]) for given in choices if a in given and b in given]
    if not both:
        return None
    return {
        "a": a,
        "b": b,
        "items": len(both),
        "equal": 100 * sum(x == y for x, y in both) / len(both),
        "kappa": cohen_kappa([x for x, _ in both], [y for _, y in both]),
    }


def _alphas(
    given: Mapping[Any, Mapping[str, float]], names: Sequence[str], levels: Sequence[Any]
) -> Record:
    table = [[told.get(name) for name in names] for told in given.values()]
    return {
        level: krippendorff_alpha(table, level) if table and names else None for level in levels
    }
