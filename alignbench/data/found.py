"""What readers make of a source: comparisons and examples, and what was left out and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from alignbench.data.checks import normalise
from alignbench.data.dialogue import ASSISTANT

MOST_VOTES = 1000
"""On one pair. More is no panel of people, and would only fill the memory."""


@dataclass(frozen=True)
class Comparison:
    """Two answers to a prompt, as labelled.

    Attributes:
        prompt: a dialogue up to the last human turn (`data.dialogue`).
        chosen, rejected: answers, different by more than their spaces.
        votes_chosen, votes_total: how many of how many people preferred `chosen`.
        transcript: the whole chosen dialogue as the source has it; "": put together from the rest.
        labeller: who said so, where the source names one: the same vote of another is another vote.
    """

    prompt: str
    chosen: str
    rejected: str
    votes_chosen: int = 1
    votes_total: int = 1
    transcript: str = ""
    labeller: str = ""


@dataclass(frozen=True)
class Example:
    """An answer to learn from."""

    prompt: str
    response: str


@dataclass
class Found:
    """All that a source holds.

    Attributes:
        comparisons, examples: in the order of the source.
        skipped: reason -> records of the source that are of no use.
        facts: other counts for the summary, such as the trees of OpenAssistant.
    """

    comparisons: list[Comparison] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)


class Unusable(Exception):
    """A record that is well-formed and yet of no use; the text is a key of the skip counts."""


class Malformed(Exception):
    """A record that is not what the source's form says: an error, with its place."""


def opening(prompt: str) -> str:
    """The first human turn, normalised: dialogues that share it are kept together."""
    return normalise(prompt.split(ASSISTANT)[0])


def comparison(
    prompt: str, chosen: str, rejected: str, votes_chosen: int = 1, votes_total: int = 1
) -> Comparison:
    """A usable comparison, the majority's choice as `chosen`.

    Raises:
        Unusable: empty or equal answers, an empty prompt, no votes or tied ones.
    """
    prompt, chosen, rejected = prompt.strip(), chosen.strip(), rejected.strip()
    if not prompt:
        raise Unusable("empty prompt")
    if not chosen or not rejected:
        raise Unusable("empty answer")
    if chosen.split() == rejected.split():
        raise Unusable("equal answers")
    if not votes_total:
        raise Unusable("no votes")
    if 2 * votes_chosen == votes_total:
        raise Unusable("tied votes")
    for text in (prompt, chosen, rejected):
        check_unicode(text)
    if 2 * votes_chosen < votes_total:
        chosen, rejected, votes_chosen = rejected, chosen, votes_total - votes_chosen
    return Comparison(prompt, chosen, rejected, votes_chosen, votes_total)


def example(prompt: str, response: str) -> Example:
    """A usable example.

    Raises:
        Unusable: an empty prompt or answer.
    """
    prompt, response = prompt.strip(), response.strip()
    if not prompt:
        raise Unusable("empty prompt")
    if not response:
        raise Unusable("empty answer")
    check_unicode(prompt)
    check_unicode(response)
    return Example(prompt, response)


def check_unicode(text: str) -> None:
    r"""Refuse half of a surrogate pair (``"\ud83d"`` in JSON), which no file can hold.

    Raises:
        Unusable: there is one.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Unusable("half a character (lone surrogate)") from None
