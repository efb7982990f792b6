"""Which pairs of answers people are asked about: equally many for each comparison, at random."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from alignbench.errors import UserError, nearest, printable
from alignbench.files import read_jsonl
from alignbench.judges.base import SENTINELS
from alignbench.results.trust import Given, Key, answers
from alignbench.scoring.given import clean

#: Rows that are not asked about unless they are named.
BESIDE = ("base", *SENTINELS)


@dataclass(frozen=True)
class Item:
    """Two answers to one prompt.

    Attributes:
        prompt_id: None for a prompt that is not one of the run's.
        prompt: its text.
        model, seed, sample: which answer `response` is.
        against, against_seed: which answer `other` is, to the same prompt and sample.
        response, other: the two texts.
        gold: `response` is known to be better: the item screens annotators and measures nothing.
    """

    prompt_id: str | None
    prompt: str
    model: str
    seed: int
    against: str
    against_seed: int
    sample: int
    response: str
    other: str
    gold: bool = False


@dataclass(frozen=True)
class Answers:
    """All answers of a run.

    Attributes:
        rows: row -> its training seeds, in the order of the table.
        reference: the row that others are compared with.
        given: every answer.
        prompts: id -> text, in order.
        judged: (answer, opponent's row) of the pairs that the judge was asked about.
    """

    rows: Mapping[str, Sequence[int]]
    reference: str
    given: Mapping[Key, Given]
    prompts: Mapping[str, str]
    judged: frozenset[tuple[Key, str]]


def read_answers(inputs: Mapping[str, Path], results: Mapping[str, Any]) -> Answers:
    """Every answer of a run.

    Args:
        inputs: folders of its ``generate``, ``score`` and ``judge`` stages, by stage name.
        results: its results.json.
    """
    parts = [name.split("/") for name in inputs if name.startswith("generate/")]
    rows = {
        row: sorted(int(seed) for _, name, seed in parts if name == row)
        for row in results["models"]
    }
    runs = [(row, seed) for row, seeds in rows.items() for seed in seeds]
    reference = str(results.get("reference", "sft"))
    names = {"baseline": reference}  # as verdicts of `alignbench score` call it
    prompts: dict[str, str] = {}
    judged = set()
    for row, seed in runs:
        for line in read_jsonl(inputs[f"generate/{row}/{seed}"] / "responses.jsonl"):
            prompts.setdefault(str(line["prompt_id"]), clean(str(line["prompt"])))
        for line in read_jsonl(inputs[f"judge/{row}/{seed}"] / "verdicts.jsonl"):
            key: Key = (row, seed, line["prompt_id"], line["sample"])
            judged.add((key, names.get(line["against"], line["against"])))
    return Answers(rows, reference, answers(inputs, runs), prompts, frozenset(judged))


def comparisons(found: Answers, models: Sequence[str] | None, between: bool) -> list[list[str]]:
    """Pairs of rows to ask about: each row with the reference, and rows with each other.

    Args:
        found: of the run.
        models: rows; None: all that compete.
        between: also rows with each other.

    Raises:
        UserError: unknown rows, or nothing to compare.
    """
    valid = [row for row in found.rows if row != found.reference]
    if models is not None:
        unknown = [row for row in models if row not in valid]
        if unknown:
            raise UserError(
                *(
                    f'--models: no row "{printable(row)}" to compare with {found.reference}'
                    f"{nearest(row, valid)}; rows: {', '.join(valid)}"
                    for row in unknown
                )
            )
    if models is None:
        rows = [row for row in valid if row not in BESIDE]
    else:  # in the order of the table, whatever was typed
        rows = [row for row in valid if row in models]
    if not rows:
        raise UserError(f"no row to compare with {found.reference}; name some with --models")
    pairs = [[row, found.reference] for row in rows]
    return pairs + ([list(pair) for pair in combinations(rows, 2)] if between else [])


def choose(
    found: Answers, pairs: Sequence[Sequence[str]], items: int, rng: random.Random
) -> list[Item]:
    """Draw `items` pairs of answers, dealt equally to the pairs of rows and to their seeds.

    A prompt comes twice only when there are more items than prompts: who saw the reference's
    answer before would know it again. Where the judge was asked about a part of a comparison,
    people are asked about a random part of that, which is what corrects the judge.

    Raises:
        UserError: fewer comparable answers than items.
    """
    pools = [_pool(found, *pair) for pair in pairs]
    shuffled = sorted(found.prompts)
    rng.shuffle(shuffled)
    uses = dict.fromkeys(shuffled, 0)
    taken: list[Item] = []
    while len(taken) < items:
        before = len(taken)
        for pool in pools[: items - len(taken)]:
            prompt = min((p for p in shuffled if pool.get(p)), key=uses.__getitem__, default=None)
            if prompt is None:
                continue
            uses[prompt] += 1
            taken.append(_draw(pool, prompt, rng))
        if len(taken) == before:
            raise UserError(
                f"--items: {items} asked for, but there are only {before} pairs of answers to "
                f"{' and '.join(' : '.join(pair) for pair in pairs)}"
            )
    return taken


def _draw(pool: dict[str, list[Item]], prompt: str, rng: random.Random) -> Item:
    """A random item of the prompt, of the seed that was drawn least so far; taken out."""
    left = pool[prompt]
    counts: dict[int, int] = defaultdict(int)
    for entry in (entry for entries in pool.values() for entry in entries):
        counts[entry.seed] += 1
    # What has most left was drawn least: at the start all seeds have equally many.
    most = max(counts[entry.seed] for entry in left)
    chosen = rng.choice([entry for entry in left if counts[entry.seed] == most])
    left.remove(chosen)
    return chosen


def _pool(found: Answers, model: str, against: str) -> dict[str, list[Item]]:
    """Prompt -> comparable pairs of two rows; those that were judged, where any was."""
    every: dict[str, list[Item]] = defaultdict(list)
    judged: dict[str, list[Item]] = defaultdict(list)
    for (row, seed, prompt, sample), own in found.given.items():
        other_seed = seed if seed in found.rows[against] else found.rows[against][0]
        other = found.given.get((against, other_seed, prompt, sample))
        if row != model or other is None:
            continue
        texts = (clean(own.text), clean(other.text))
        item = Item(prompt, found.prompts[prompt], row, seed, against, other_seed, sample, *texts)
        every[prompt].append(item)
        if ((row, seed, prompt, sample), against) in found.judged and other_seed == 0:
            judged[prompt].append(item)
    return judged or every
