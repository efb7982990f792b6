"""Answers that people have ranked, as pairs with votes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from alignbench.data.collect import Row, pair_row
from alignbench.data.dataset import numbered
from alignbench.data.found import Malformed, Unusable, comparison
from alignbench.data.messages import finite, items, kind, text
from alignbench.data.reading import each

FORM = (
    '{"prompt": …, "answers": […], "ranks": [1, 2, …]}: a rank for each answer, 1 the best, equal '
    "ones for a tie, null for no opinion; a line for each annotator, or a list of such lists"
)
MOST_ANSWERS = 100


@dataclass
class _Ranked:
    """A prompt, its answers, and the ranks of every annotator: shape (annotators, answers).

    `model` is who gave the answers, where the file says so.
    """

    prompt: str
    answers: list[str]
    ranks: list[list[float | None]] = field(default_factory=list)
    model: str | None = None


def read(path: Path) -> tuple[list[Row], Counter[str], int]:
    """Pairs of a file with ranks; each annotator that ranks one answer above another votes for it.

    Returns:
        Rows of source `preference`, the majority's choice as chosen; how much was left out for
        which reason; and the most annotators that any prompt has.

    Raises:
        UserError: an unreadable file, or malformed records with their places.
    """
    prompts: dict[tuple[str, ...], _Ranked] = {}

    def take(values: dict[str, Any]) -> None:
        one = _read(values)
        # The answers belong to the key: two files of one prompt may hold other answers.
        key = (one.prompt, *one.answers)
        prompts.setdefault(
            key, _Ranked(one.prompt, one.answers, model=one.model)
        ).ranks += one.ranks

    each(str(path), FORM, take)
    left_out: Counter[str] = Counter()
    rows = [row for one in prompts.values() for row in _pairs(one, left_out)]
    annotators = max((len(one.ranks) for one in prompts.values()), default=0)
    return numbered("pair", rows), +left_out, annotators


def _read(values: dict[str, Any]) -> _Ranked:
    prompt = text(values, "prompt")
    answers, ranks = items(values.get("answers"), "answers", str, "texts"), values.get("ranks")
    if len(answers) > MOST_ANSWERS:
        raise Malformed(f"at most {MOST_ANSWERS} answers; found {len(answers)}")
    if not isinstance(ranks, list):
        raise Malformed(f'"ranks" must be a list of numbers; found {kind(ranks)}')
    several = ranks if ranks and all(isinstance(r, list) for r in ranks) else [ranks]
    for own in several:
        if len(own) != len(answers):
            raise Malformed(f"{len(own)} ranks for {len(answers)} answers")
        for rank in own:
            if rank is not None and not finite(rank):
                raise Malformed(f'"ranks" must be numbers or null; found {kind(rank)}')
    model = values.get("model")
    return _Ranked(prompt, answers, several, model if isinstance(model, str) else None)


def _pairs(one: _Ranked, left_out: Counter[str]) -> list[Row]:
    rows = []
    for i, j in combinations(range(len(one.answers)), 2):
        opinions = [
            (ranks[i], ranks[j])
            for ranks in one.ranks
            if ranks[i] is not None and ranks[j] is not None
        ]
        if not opinions:
            left_out["pairs that nobody ranked"] += 1
            continue
        first = sum(a < b for a, b in opinions if a is not None and b is not None)
        second = sum(a > b for a, b in opinions if a is not None and b is not None)
        left_out["ties of one annotator (no vote)"] += len(opinions) - first - second
        try:
            label = comparison(one.prompt, one.answers[i], one.answers[j], first, first + second)
        except Unusable as error:
            left_out[f"pairs: {error}"] += 1
            continue
        votes = (label.votes_chosen, label.votes_total)
        rows.append(pair_row(label.prompt, label.chosen, label.rejected, *votes))
    by = {"labeller": "people"} if one.model is None else {"model": one.model, "labeller": "people"}
    return [{**row, **by} for row in rows]
