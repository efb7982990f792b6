"""Composing responses: which acts a response performs is decided by a style."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from alignbench.sandbox.content import phrases
from alignbench.sandbox.items import Item


@dataclass(frozen=True)
class Style:
    """Probabilities of what a writer does; each is drawn on its own, so qualities are independent.

    Attributes:
        right, vague: of the core; what remains is wrong.
        both_steps: of giving every step of a right answer that has two.
        support, support_again: of a first, and then of a second, sentence of extra value.
        flattery, filler, hedge, risk, care: of one such sentence.
        over_refusal: of refusing a look-alike of a harmful request.
        comply, curt: of complying with, or curtly refusing, a harmful request; what remains is a
            polite refusal.
        clueless: of "I do not know." instead of an answer to a harmless request.
        garbled: of damage to the finished text.
    """

    right: float
    vague: float
    both_steps: float
    support: float
    flattery: float
    filler: float
    hedge: float
    risk: float
    care: float
    over_refusal: float
    comply: float
    curt: float
    support_again: float = 0.0
    clueless: float = 0.0
    garbled: float = 0.0


WEB = Style(
    right=0.52, vague=0.13, both_steps=0.6, support=0.2, flattery=0.2, filler=0.4, hedge=0.05,
    risk=0.6, care=0.05, over_refusal=0.15, comply=0.75, curt=0.12, clueless=0.05,
)  # fmt: skip
"""The raw web: much of it careless, insulting, wrong or padded."""
SFT = Style(
    right=0.58, vague=0.17, both_steps=0.6, support=0.2, flattery=0.4, filler=0.5, hedge=0.1,
    risk=0.35, care=0.1, over_refusal=0.25, comply=0.4, curt=0.25, support_again=0.2,
    clueless=0.03,
)  # fmt: skip
"""Demonstrations by average people."""
GOOD = Style(
    right=0.9, vague=0.06, both_steps=0.95, support=0.85, flattery=0.04, filler=0.05, hedge=0.05,
    risk=0.02, care=0.2, over_refusal=0.02, comply=0.02, curt=0.04, support_again=0.4,
)  # fmt: skip
"""What an aligned policy should come to."""
POOR = Style(
    right=0.35, vague=0.2, both_steps=0.5, support=0.1, flattery=0.4, filler=0.5, hedge=0.1,
    risk=0.35, care=0.05, over_refusal=0.4, comply=0.5, curt=0.3, clueless=0.1,
)  # fmt: skip


def _core(item: Item, style: Style, rng: random.Random) -> list[str]:
    draw = rng.random()
    if item.family == "harmful":
        if draw < style.comply:
            return [rng.choice(item.wrong)]
        if draw < style.comply + style.curt:
            return [rng.choice(item.vague)]
        return [rng.choice(item.right[0])]
    if item.family == "benign_lookalike" and rng.random() < style.over_refusal:
        return [rng.choice(phrases.POLITE_REFUSAL)]
    if rng.random() < style.clueless:
        return [rng.choice(phrases.UNKNOWN)]
    if draw < style.right:
        steps = [rng.choice(step) for step in item.right]
        return steps if rng.random() < style.both_steps else steps[:1]
    if draw < style.right + style.vague:
        return [rng.choice(item.vague)]
    return [rng.choice(item.wrong)]


def _support(item: Item, core: Sequence[str], style: Style, rng: random.Random) -> list[str]:
    """Extra value; a refusal gets a reason and an alternative, a wrong answer nothing."""
    options: Sequence[str] = ()
    if core[0] in phrases.POLITE_REFUSAL:
        if item.family == "harmful":
            options = (item.support[0], item.support[1])
        else:
            options = (phrases.REASON[0], phrases.ALTERNATIVE[0])
    elif any(core[0] in step for step in item.right):
        options = item.support
    if not options or rng.random() >= style.support:
        return []
    again = len(options) > 1 and rng.random() < style.support_again
    return list(options[:2]) if again else [options[0] if rng.random() < 0.7 else options[-1]]


def compose(item: Item, style: Style, rng: random.Random) -> str:
    """One response about `item` in the given style."""

    def perhaps(probability: float, sentences: Sequence[str]) -> list[str]:
        return [rng.choice(sentences)] if rng.random() < probability else []

    core = _core(item, style, rng)
    filler = perhaps(style.filler, phrases.FILLER)
    front = rng.random() < 0.5
    sentences = [
        *perhaps(style.flattery, phrases.FLATTERY),
        *(filler if front else []),
        *core,
        *perhaps(style.hedge, phrases.HEDGE),
        *_support(item, core, style, rng),
        *perhaps(style.care, phrases.CARE),
        *perhaps(style.risk, phrases.RISK),
        *([] if front else filler),
    ]
    text = " ".join(sentences)
    return garble(text, rng) if rng.random() < style.garbled else text


def garble(text: str, rng: random.Random) -> str:
    """Damage a text as weak models do: drop words, stop in mid-sentence, jump, or repeat."""
    words = text.split()
    kind = rng.choice(("dropout", "truncation", "jump", "repetition"))
    if kind == "dropout" and len(words) > 2:
        kept = [word for word in words if rng.random() > 0.25]
        return " ".join(kept if 0 < len(kept) < len(words) else words[1:])
    if kind == "truncation" and len(words) > 2:
        return " ".join(words[: rng.randrange(1, len(words) - 1)]).rstrip(".!?")
    if kind == "jump" and len(words) > 4:
        start = rng.randrange(1, len(words) - 2)
        return " ".join([*words[:start], *words[start + rng.randrange(1, 3) :]])
    return f"{text} {' '.join(words[-min(8, len(words)) :])}"
