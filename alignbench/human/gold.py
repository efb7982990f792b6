"""Gold questions: pairs of which it is known who is better, to tell who reads and who clicks.

From the most to the least like the other questions, so that nobody can tell them apart:

1. two answers of the run to one prompt whose scores by the sandbox's exact rule lie `WIDE_GAP`
   points or more apart;
2. an answer of the reference row, against the same words in random order.

Or a file of the user's, with ``prompt``, ``better`` and ``worse``.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from alignbench.errors import UserError
from alignbench.human.items import Answers, Item
from alignbench.scoring.given import clean
from alignbench.scoring.records import read_entries, texts

#: Points of 10 by the exact rule: a gap that nobody overlooks who reads both answers.
WIDE_GAP = 4.0
#: Words from which on it is plain that an answer is garbled.
LEAST_WORDS = 8
#: Of an answer whose garbled copy must be worse, where the exact rule knows.
GOOD = 6.0
BETTER, WORSE = "known_better", "known_worse"


def gold_items(found: Answers, count: int, used: Sequence[Item], rng: random.Random) -> list[Item]:
    """`count` gold questions on prompts of the run, if possible on such that no item has.

    Raises:
        UserError: fewer can be made.
    """
    asked = {item.prompt_id for item in used}
    chosen: dict[str, Item] = {}
    for pool in (_wide(found, rng), _garbled(found, rng)):
        prompts = [prompt for prompt in pool if prompt not in chosen]
        rng.shuffle(prompts)
        prompts.sort(key=asked.__contains__)
        chosen |= {prompt: pool[prompt] for prompt in prompts[: count - len(chosen)]}
    if len(chosen) < count:
        raise UserError(
            f"--gold: {count} asked for, but only {len(chosen)} can be made of this run's answers; "
            f"--gold {len(chosen)} makes do with that, --gold FILE takes your own (prompt, better, "
            "worse)"
        )
    return list(chosen.values())


def read_gold(path: Path) -> list[Item]:
    """The gold questions of a user's file.

    Raises:
        UserError: not readable, a field is missing, or better and worse are equal.
    """
    entries = read_entries(path)
    columns = [texts(entries, (name,), name)[1] for name in ("prompt", "better", "worse")]
    equal = [
        f'{entry.place}: "better" and "worse" are the same text'
        for entry, better, worse in zip(entries, *columns[1:], strict=True)
        if better.strip() == worse.strip()
    ]
    if equal:
        raise UserError(*equal[:10])
    return [_item(None, *line) for line in zip(*columns, strict=True)]


def _wide(found: Answers, rng: random.Random) -> dict[str, Item]:
    """Prompt -> a pair of answers that the exact rule holds far apart."""
    scored: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for (_, _, prompt, _), given in found.given.items():
        if given.gold is not None and given.text.strip():
            scored[prompt].append((given.gold, given.text))
    pool = {}
    for prompt, told in scored.items():
        least = min(told)[0]
        good = [(score, text) for score, text in told if score >= least + WIDE_GAP]
        if not good:
            continue
        score, better = rng.choice(good)
        worse = rng.choice([text for low, text in told if low <= score - WIDE_GAP])
        pool[prompt] = _item(prompt, found.prompts[prompt], better, worse)
    return pool


def _garbled(found: Answers, rng: random.Random) -> dict[str, Item]:
    """Prompt -> an answer of the reference, against the same words in random order."""
    pool = {}
    for (row, _, prompt, _), given in found.given.items():
        words = given.text.split()
        if row != found.reference or len(words) < LEAST_WORDS or len(set(words)) < LEAST_WORDS // 2:
            continue
        if given.gold is not None and given.gold < GOOD:
            continue
        mixed = list(words)
        while mixed == words:
            rng.shuffle(mixed)
        pool[prompt] = _item(prompt, found.prompts[prompt], given.text, " ".join(mixed))
    return pool


def _item(prompt_id: str | None, prompt: str, better: str, worse: str) -> Item:
    shown = (clean(better), clean(worse))
    return Item(prompt_id, clean(prompt), BETTER, 0, WORSE, 0, 0, *shown, gold=True)
