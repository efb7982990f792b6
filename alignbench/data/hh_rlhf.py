"""Anthropic HH-RLHF: two transcripts a record.

They share everything up to the last assistant turn (Bai et al. 2022,
https://arxiv.org/abs/2204.05862). One person labelled each pair, so there is one vote.
"""

from __future__ import annotations

from typing import Any

from alignbench.data.checks import normalise
from alignbench.data.dialogue import ASSISTANT, HUMAN
from alignbench.data.found import Comparison, Found, Unusable, check_unicode
from alignbench.data.messages import text
from alignbench.data.reading import each

FORM = '{"chosen": "\\n\\nHuman: …", "rejected": "\\n\\nHuman: …"}'


def parse(chosen: str, rejected: str) -> Comparison | str:
    """Take two transcripts apart, or say why they are of no use (a key of the skip counts).

    The prompt comes without its leading "Human:", so that the plain prompt format puts it back
    exactly.
    """
    prefix, found, answer = chosen.rpartition(ASSISTANT)
    other_prefix, _, other_answer = rejected.rpartition(ASSISTANT)
    if not found or not prefix.lstrip().startswith(HUMAN.lstrip()):
        return "not a dialogue"
    if prefix != other_prefix:
        return "prompts differ"
    answer, other_answer = answer.strip(), other_answer.strip()
    if not answer or not other_answer:
        return "empty answer"
    if answer.split() == other_answer.split():
        return "equal answers"
    prompt = prefix.lstrip().removeprefix(HUMAN.lstrip()).strip()
    if not prompt:
        return "empty prompt"
    return Comparison(prompt, answer, other_answer, transcript=chosen.strip())


def find(path: str) -> Found:
    """Usable comparisons, the first of each prompt.

    Raises:
        UserError: unreadable data, or malformed records with their places.
    """
    found = Found()
    seen: set[str] = set()

    def take(values: dict[str, Any]) -> None:
        record = parse(text(values, "chosen"), text(values, "rejected"))
        if isinstance(record, str):
            found.skipped[record] += 1
            return
        try:
            check_unicode(record.transcript + record.rejected)
        except Unusable as error:
            found.skipped[str(error)] += 1
            return
        key = normalise(record.prompt)
        if key in seen:
            found.skipped["repeated prompt"] += 1
        else:
            seen.add(key)
            found.comparisons.append(record)

    each(path, FORM, take)
    return found
