"""Sources whose records are pairs: TRL's preference form, binarised UltraFeedback, any table.

TRL's forms (https://huggingface.co/docs/trl/dataset_formats): ``prompt``, ``chosen`` and
``rejected`` as text or as lists of messages. Without ``prompt`` it is what both answers begin with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from alignbench.data import hh_rlhf
from alignbench.data.dialogue import HUMAN
from alignbench.data.found import (
    MOST_VOTES,
    Comparison,
    Found,
    Malformed,
    Unusable,
    comparison,
)
from alignbench.data.messages import finite, kind, messages, plain_prompt, prompt_of, text
from alignbench.data.reading import each
from alignbench.recipe.data_sections import PreferenceData, TableData, UltraFeedbackData

FORM = '{"prompt": …, "chosen": …, "rejected": …}, each text or a list of messages'
SCORED = f"{FORM}, with score_chosen and score_rejected"
VOTES = ("votes_chosen", "votes_total")
SCORES = ("score_chosen", "score_rejected")
LABELLER = "labeller"
LABELS = {
    "chosen": True, "1": True, "rejected": False, "2": False, "tie": None, "0": None, "": None,
}  # fmt: skip


def find(config: PreferenceData | UltraFeedbackData | TableData) -> Found:
    """All comparisons of a source.

    Raises:
        UserError: unreadable data, or malformed records with their places.
    """
    found = Found()
    form = FORM
    if isinstance(config, UltraFeedbackData):
        form = SCORED
    elif isinstance(config, TableData):
        names = config.columns.model_dump(exclude_none=True, exclude={"labels"})
        labels = config.columns.labels
        form = f"a row with the columns {', '.join([*names.values(), *labels])}"

    def take(values: dict[str, Any]) -> None:
        try:
            if isinstance(config, TableData):
                values = _renamed(values, names, labels)
            if isinstance(config, UltraFeedbackData):
                _check_scores(values)
            taken = _pair(values)
        except Unusable as error:
            found.skipped[str(error)] += 1
        else:
            found.comparisons.append(taken)
            if _flipped(values, taken):
                found.facts["relabelled by majority"] = (
                    found.facts.get("relabelled by majority", 0) + 1
                )

    each(config.path, form, take)
    return found


def _renamed(
    values: Mapping[str, Any], names: Mapping[str, str], labels: Sequence[str]
) -> dict[str, Any]:
    """A table's row under the canonical names, annotators' labels counted into votes."""
    row = dict(values)
    for name in (*names.values(), *labels):
        if name not in values:
            text(row, name)  # says what there is instead
    renamed = {key: value for key, value in row.items() if key in (*VOTES, LABELLER)}
    renamed |= {ours: row[theirs] for ours, theirs in names.items()}
    if labels:
        told = [_label(name, row[name]) for name in labels]
        decided = [label for label in told if label is not None]
        renamed |= {"votes_chosen": sum(decided), "votes_total": len(decided)}
    return renamed


def _label(name: str, value: Any) -> bool | None:
    """Whether an annotator prefers the chosen answer; None: neither."""
    written = "" if value is None else str(value).strip().lower().removesuffix(".0")
    if written not in LABELS:
        raise Malformed(f'"{name}" must be one of {", ".join(filter(None, LABELS))}, or nothing')
    return LABELS[written]


def _check_scores(values: Mapping[str, Any]) -> None:
    for name in SCORES:
        if not finite(values.get(name)):
            raise Malformed(f'no number under "{name}" but {kind(values.get(name))}')
    chosen, rejected = (values[name] for name in SCORES)
    if chosen == rejected:
        raise Unusable("tied scores")
    if chosen < rejected:
        raise Unusable("scores that contradict the label")


def _flipped(values: Mapping[str, Any], taken: Comparison) -> bool:
    """Whether the majority of the votes had it the other way round than the record."""
    return _votes(values)[0] != taken.votes_chosen


def _pair(values: Mapping[str, Any]) -> Comparison:
    votes = _votes(values)
    whole = isinstance(values.get("chosen"), list) or isinstance(values.get("rejected"), list)
    prompt, chosen, rejected = _conversations(values) if whole else _texts(values)
    labeller = values.get(LABELLER)
    return replace(
        comparison(prompt, chosen, rejected, *votes),
        labeller="" if labeller is None else str(labeller),
    )


def _votes(values: Mapping[str, Any]) -> tuple[int, int]:
    # An empty cell of a table is one that nobody filled.
    given = [values.get(name) if values.get(name) != "" else None for name in VOTES]
    if given == [None, None]:
        return 1, 1
    counts = [_whole(name, value) for name, value in zip(VOTES, given, strict=True)]
    if not 0 <= counts[0] <= counts[1] <= MOST_VOTES:
        raise Malformed(
            f'"votes_chosen" must be from 0 to "votes_total", and that at most {MOST_VOTES}; '
            f"found {counts[0]} of {counts[1]}"
        )
    return counts[0], counts[1]


def _whole(name: str, value: Any) -> int:
    """A whole number: as such, as text (CSV), or as 2.0 (columns of pandas with gaps)."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 10:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Malformed(f'"{name}" must be a whole number; found {kind(value)}')
    return value


def _texts(values: Mapping[str, Any]) -> tuple[str, str, str]:
    row = dict(values)
    chosen, rejected = text(row, "chosen"), text(row, "rejected")
    if isinstance(row.get("prompt"), list):
        return prompt_of(messages(row["prompt"], "prompt")), chosen, rejected
    if row.get("prompt") is not None:
        return plain_prompt(text(row, "prompt")), chosen, rejected
    if chosen.lstrip().startswith(HUMAN.lstrip()):
        record = hh_rlhf.parse(chosen, rejected)
        if isinstance(record, str):
            raise Unusable(record)
        return plain_prompt(record.prompt), record.chosen, record.rejected
    shared = _shared(chosen, rejected)
    if not shared.strip():
        raise Unusable("no prompt, and answers that begin differently")
    return plain_prompt(shared), chosen[len(shared) :], rejected[len(shared) :]


def _shared(a: str, b: str) -> str:
    """What both begin with, up to the end of a word (TRL's `extract_prompt`)."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    if same == min(len(a), len(b)):
        return a[:same]
    # Back to where a word begins, so that the answers are words.
    while same and not a[same - 1].isspace():
        same -= 1
    return a[:same]


def _conversations(values: Mapping[str, Any]) -> tuple[str, str, str]:
    """Lists of messages: the answer alone, or the whole conversation up to it."""
    row = dict(values)
    sides = {}
    for name in ("chosen", "rejected"):
        if name not in row:
            text(row, name)  # says what there is instead
        sides[name] = messages(row[name], name)
    before = row.get("prompt")
    prompt: list[dict[str, str]] = []
    if isinstance(before, str):
        prompt = [{"role": "user", "content": before}]
    elif before is not None:
        prompt = messages(before, "prompt")
    ends = []
    for name, side in sides.items():
        if side[-1]["role"] != "assistant":
            raise Unusable(f"{name} does not end with the assistant")
        own = [*prompt, *side] if side[0]["role"] == "assistant" and prompt else side
        ends.append((own[:-1], side[-1]["content"]))
    (first, chosen), (second, rejected) = ends
    if first != second:
        raise Unusable("prompts differ")
    return prompt_of(first), chosen, rejected
