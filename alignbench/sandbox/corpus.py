"""The sandbox's "web": documents to pre-train on, and held-out documents of the same kind."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache

from alignbench.sandbox.content import honesty, tasks
from alignbench.sandbox.items import FAMILIES, Item, family_items
from alignbench.sandbox.prompts import Pool, Prompt
from alignbench.sandbox.responses import WEB, compose

# Question-and-answer pages come in two layouts. The first is the one in which models without a
# chat template are prompted (`models.text.PLAIN_FORMAT`): Base has seen dialogues, badly answered.
DIALOGUE = "\n\nHuman: {prompt}\n\nAssistant: {response}"
PAGE = "Question: {prompt}\nAnswer: {response}"

KIND_WEIGHTS = {"facts": 0.16, "arithmetic": 0.06, "prose": 0.08, "copying": 0.14, "web": 0.56}
"""Shares of documents: true statements, sums, good texts of the other families, practice in
repeating a word (the slow skill of a tiny model, see `_copying`), and raw web answers."""

_Writer = Callable[[random.Random], str]


def _deck(items: Sequence[Item], rng: random.Random) -> Iterator[Item]:
    """Endless shuffled rounds through all items, so that each comes up equally often."""
    while True:
        yield from rng.sample(items, len(items))


def _statements(deck: Iterator[Item], count: int, support: float) -> _Writer:
    """Several items' right answers in a row, as a page of true statements."""

    def write(rng: random.Random) -> str:
        sentences = []
        for _ in range(count):
            item = next(deck)
            sentences += [rng.choice(step) for step in item.right]
            if rng.random() < support:
                sentences.append(rng.choice(item.support))
        return " ".join(sentences)

    return write


@cache
def _topics() -> tuple[str, ...]:
    words = [topic for craft in tasks.CRAFTS for topic in craft.topics]
    words += [*tasks.WRITING_TOPICS, *honesty.CLARIFY_VERBS, *honesty.PERSONS, *tasks.NUMBERS]
    words += [item.key.split("/")[-1] for item in family_items("facts")]
    return tuple(dict.fromkeys(words))


def _copying(rng: random.Random) -> str:
    """Practice in carrying words from a request into the answer."""
    a, b, c = rng.sample(_topics(), 3)
    request, answer = rng.choice(
        (
            (f"Say {a} and {b} to me.", f"You want me to say {a} and {b}."),
            (f"Write {a}, {b} and {c} in a list.", f"Here is the list: {a}, {b}, {c}."),
            (f"The word of the day is {a}.", f"So the word is {a}, and {a} it is."),
            (f"First comes {a}, then {b}.", f"So {b} comes after {a}, and {a} before {b}."),
        )
    )
    return rng.choice((DIALOGUE, PAGE, "{prompt} {response}")).format(
        prompt=request, response=answer
    )


def _web(prompts: Sequence[Prompt]) -> _Writer:
    def write(rng: random.Random) -> str:
        prompt = rng.choice(prompts)
        layout = DIALOGUE if rng.random() < 0.6 else PAGE
        return layout.format(prompt=prompt.text, response=compose(prompt.item, WEB, rng))

    return write


def documents(prompts: Sequence[Prompt], rng: random.Random) -> Iterator[str]:
    """Endless documents; those of question and answer use `prompts` only."""
    others = [f for f in FAMILIES if f not in ("facts", "arithmetic")]
    decks = [_deck(family_items(f), rng) for f in others]
    prose = [_statements(deck, 2, 0.5) for deck in decks]
    writers: dict[str, _Writer] = {
        "facts": _statements(_deck(family_items("facts"), rng), 3, 0.25),
        "arithmetic": _statements(_deck(family_items("arithmetic"), rng), 4, 0.1),
        "prose": lambda r: r.choice(prose)(r),
        "copying": _copying,
        "web": _web(prompts),
    }
    kinds, weights = list(writers), [KIND_WEIGHTS[kind] for kind in writers]
    while True:
        yield writers[rng.choices(kinds, weights)[0]](rng)


def build(pool: Pool, count: int, held_out: int, seed: int) -> tuple[list[str], list[str]]:
    """`count` documents to train on and `held_out` others, none of which is among the first."""
    prompts = pool.take(pool.size)
    training = documents(prompts, random.Random(f"{seed}/corpus"))
    corpus = [next(training) for _ in range(count)]
    seen = set(corpus)
    heldout: list[str] = []
    for document in documents(prompts, random.Random(f"{seed}/heldout")):
        if len(heldout) == held_out:
            break
        if document not in seen:
            seen.add(document)
            heldout.append(document)
    return corpus, heldout
