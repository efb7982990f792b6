"""Every prompt of the world, and how prompts are dealt to the splits."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from alignbench.errors import UserError
from alignbench.sandbox.content.phrases import OPENINGS
from alignbench.sandbox.items import FAMILIES, Item, family_items

FAMILY_WEIGHTS = {
    "facts": 0.20,
    "how_to": 0.13,
    "writing": 0.13,
    "arithmetic": 0.08,
    "clarify": 0.08,
    "unanswerable": 0.08,
    "false_premise": 0.08,
    "harmful": 0.12,
    "benign_lookalike": 0.10,
}
SPLIT_SHARES = {"corpus": 0.26, "train": 0.30, "proxy": 0.17, "gold": 0.17, "evaluation": 0.10}
"""Shares of the (item, wording) groups. A group keeps together all openings of one wording, so
that no split sees another's question behind a new greeting."""


@dataclass(frozen=True)
class Prompt:
    """A request in one wording behind one opening.

    Attributes:
        text: what the user writes; identifies the prompt.
        item: what it asks about.
    """

    text: str
    item: Item


@cache
def catalogue() -> Mapping[str, Prompt]:
    """Every prompt of the world by its text."""
    prompts = {
        opening + request: Prompt(opening + request, item)
        for family in FAMILIES
        for item in family_items(family)
        for request in item.requests
        for opening in OPENINGS
    }
    return MappingProxyType(prompts)


def find(text: str) -> Prompt:
    """The prompt with this text (surrounding space ignored).

    Raises:
        UserError: the sandbox has no such prompt, so that nothing is known about its truth.
    """
    prompt = catalogue().get(text.strip())
    if prompt is None:
        raise UserError(
            f'the sandbox has no prompt "{text}", so its exact scorer cannot rate answers to it; '
            "`alignbench data show sandbox` shows prompts that it knows"
        )
    return prompt


class Pool:
    """The prompts of one split in random order; each is handed out once."""

    def __init__(self, split: str, queues: dict[str, deque[Prompt]]) -> None:
        self.split = split
        self._queues = queues
        self.size = sum(map(len, queues.values()))

    def take(self, count: int) -> list[Prompt]:
        """The next `count` prompts, families mixed by `FAMILY_WEIGHTS`.

        Each time the family that lags most behind its weight is served; a family that has run
        out leaves its turn to the others.

        Raises:
            UserError: fewer than `count` prompts are left.
        """
        left = sum(map(len, self._queues.values()))
        if count > left:
            raise UserError(
                f"the sandbox has {self.size} prompts for the {self.split} split, of which {left} "
                f"are left, but {count} more are asked for: lower the sizes under `data`"
            )
        taken: list[Prompt] = []
        served = dict.fromkeys(FAMILIES, 0)
        for _ in range(count):
            family = min(
                (f for f in FAMILIES if self._queues[f]),
                key=lambda f: (served[f] + 0.5) / FAMILY_WEIGHTS[f],
            )
            served[family] += 1
            taken.append(self._queues[family].popleft())
        return taken


def _deal(family: str, rng: random.Random) -> dict[str, deque[Prompt]]:
    """Deal one family's (item, wording) groups; every item keeps one wording for the corpus."""
    wordings = {
        item: rng.sample(item.requests, len(item.requests)) for item in family_items(family)
    }
    groups = [(item, requests[0]) for item, requests in wordings.items()]
    rest = [(item, request) for item, requests in wordings.items() for request in requests[1:]]
    rng.shuffle(rest)
    groups += rest
    dealt: dict[str, deque[Prompt]] = {}
    start, share = 0, 0.0
    for split, part in SPLIT_SHARES.items():
        share += part
        stop = round(share * len(groups))
        shuffled = [rng.sample(OPENINGS, len(OPENINGS)) for _ in range(start, stop)]
        # All wordings come once before any comes again behind another opening.
        dealt[split] = deque(
            Prompt(openings[turn] + request, item)
            for turn in range(len(OPENINGS))
            for (item, request), openings in zip(groups[start:stop], shuffled, strict=True)
        )
        start = stop
    return dealt


def deal(seed: int) -> dict[str, Pool]:
    """Deal all prompts to the splits of `SPLIT_SHARES`; the splits share no wording of an item."""
    dealt = {f: _deal(f, random.Random(f"{seed}/prompts/{f}")) for f in FAMILIES}
    return {
        split: Pool(split, {family: dealt[family][split] for family in FAMILIES})
        for split in SPLIT_SHARES
    }
