"""Deal what a source holds to the files of `dataset.FILES`: disjoint, the same every time."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from alignbench.data.checks import normalise
from alignbench.data.dataset import VALID_SHARE, Row, numbered
from alignbench.data.found import Comparison, Example, opening
from alignbench.recipe.data_sections import ExternalData

Kind = Literal["prompts", "examples", "pairs"]


@dataclass(frozen=True)
class Asked:
    """A prompt alone, and the text of the dialogue with a good answer for perplexity."""

    prompt: str
    transcript: str


@dataclass
class Group:
    """Everything that begins with the same human turn: apart, it would leak."""

    comparisons: list[Comparison] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)

    def prompts(self) -> list[Asked]:
        """Every prompt of the pairs once; of the examples where there are no pairs at all."""
        found: dict[str, Asked] = {}
        good = {normalise(e.prompt): e.response for e in reversed(self.examples)}
        for one in self.comparisons:
            key = normalise(one.prompt)
            answer = good.get(key, one.chosen)
            text = one.transcript or f"Human: {one.prompt}\n\nAssistant: {answer}"
            found.setdefault(key, Asked(one.prompt, text))
        return list(found.values())

    def rows(self, kind: Kind) -> Sequence[Asked | Example | Comparison]:
        """What a file of this kind can take from here."""
        if kind == "prompts":
            return self.prompts()
        return self.examples if kind == "examples" else self.comparisons


@dataclass
class Dealt:
    """Files as filled.

    Attributes:
        files: name -> what it got, never more than asked for.
        asked: name -> size that the recipe asks for.
        scale: share of it that there was enough for.
    """

    files: dict[str, list[Asked | Example | Comparison]]
    asked: dict[str, int]
    scale: float

    def short(self) -> dict[str, tuple[int, int]]:
        """Files with fewer rows than their scaled size: (rows, size)."""
        sizes = _scaled(self.asked, self.scale)
        return {
            name: (len(rows), sizes[name])
            for name, rows in self.files.items()
            if len(rows) < sizes[name]
        }


def percent(share: float) -> str:
    """A share between 0 and 1, with as many digits as tell it from either."""
    value = 100 * share
    margin = max(min(value, 100 - value), 1e-9)
    return f"{value:.{max(0, 1 - math.floor(math.log10(margin)))}f}%"


def kind(name: str) -> Kind:
    """What the rows of a file are."""
    if name.startswith("pairs"):
        return "pairs"
    return "examples" if name.startswith("sft") else "prompts"


def sizes(config: ExternalData) -> dict[str, int]:
    """Rows asked for per file, the scarce and precious evaluation prompts first.

    The last file is the one that gets less when dialogues with one opening do not split evenly.
    """

    def valid(size: int) -> int:
        return max(4, math.ceil(size * VALID_SHARE))

    return {
        "eval_prompts": config.evaluation_prompts,
        "train_prompts": config.train_prompts,
        "sft_valid": valid(config.sft_examples),
        "sft": config.sft_examples,
        "pairs_proxy_valid": valid(config.reward_pairs),
        "pairs_gold_valid": valid(config.gold_pairs),
        "pairs_gold": config.gold_pairs,
        "valid_prompts": config.validation_prompts,
        "pairs_proxy": config.reward_pairs,
    }


def grouped(comparisons: Sequence[Comparison], examples: Sequence[Example]) -> list[Group]:
    """Comparisons and examples by their opening, in order of first appearance."""
    groups: dict[str, Group] = {}
    for one in comparisons:
        groups.setdefault(opening(one.prompt), Group()).comparisons.append(one)
    for other in examples:
        groups.setdefault(opening(other.prompt), Group()).examples.append(other)
    return list(groups.values())


def deal(groups: Sequence[Group], asked: Mapping[str, int], rng: random.Random) -> Dealt:
    """Deal whole groups to files.

    All sizes are scaled down together when there are fewer rows than asked for. Groups of many
    rows do not split evenly; a file that comes out empty makes all of them smaller still.

    Returns:
        Files, some of them empty if there is too little for them even at one row each.
    """
    scale = _scale(groups, asked)
    shuffled = list(groups)
    rng.shuffle(shuffled)
    while True:
        wanted = _scaled(asked, scale)
        files = _deal(shuffled, wanted)
        if all(files.values()) or set(wanted.values()) == {1}:
            return Dealt(files, dict(asked), scale)
        scale /= 2


def _scale(groups: Sequence[Group], asked: Mapping[str, int]) -> float:
    """Share of the sizes that can be had, if rows of each kind were spread evenly."""
    there = Counter(
        {name: sum(len(group.rows(name)) for group in groups) for name in set(map(kind, asked))}
    )
    # A row of one file takes a group's rows of all kinds away.
    used = sum((Fraction(size, there[kind(name)] or 1) for name, size in asked.items()), Fraction())
    return min(1.0, float(1 / used))


def _scaled(asked: Mapping[str, int], scale: float) -> dict[str, int]:
    return {name: max(1, int(size * scale)) for name, size in asked.items()}


def _deal(
    shuffled: Sequence[Group], wanted: Mapping[str, int]
) -> dict[str, list[Asked | Example | Comparison]]:
    deck = list(shuffled)
    dealt: dict[str, list[Asked | Example | Comparison]] = {}
    for name, size in wanted.items():
        rows: list[Asked | Example | Comparison] = []
        passed = []
        while deck and len(rows) < size:
            group = deck.pop()
            if own := group.rows(kind(name)):
                rows += own
            else:
                passed.append(group)
        # What is of no use to this file may be to the next.
        deck += reversed(passed)
        dealt[name] = rows[:size]
    return dealt


def rows_of(
    files: Mapping[str, Sequence[Asked | Example | Comparison]], family: str
) -> dict[str, list[Row]]:
    """The rows to be written, with the held-out texts of the evaluation prompts in front."""
    rows: dict[str, list[Row]] = {
        "heldout": [
            {"text": one.transcript} for one in files["eval_prompts"] if isinstance(one, Asked)
        ]
    }
    for name, part in files.items():
        own = [row(one, family) for one in part]
        prefix = name.removeprefix("pairs_").removesuffix("_prompts")
        rows[name] = own if kind(name) == "examples" else numbered(prefix, own)
    return rows


def row(one: Asked | Example | Comparison, family: str) -> Row:
    """What is written of it, but for the id."""
    own: Row = {"prompt": one.prompt}
    if isinstance(one, Example):
        own["response"] = one.response
    elif isinstance(one, Comparison):
        own |= {
            "chosen": one.chosen,
            "rejected": one.rejected,
            "votes_chosen": one.votes_chosen,
            "votes_total": one.votes_total,
        }
    return {**own, "family": family}
