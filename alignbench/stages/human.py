"""Stage `human`: a file of people's preferences between two answers, checked and put in order.

Records as in `scoring.records`, mostly JSON lines:

    {"prompt_id": "eval-00003", "model": "dpo", "against": "sft", "preference": "model"}

- ``prompt_id``, or ``prompt`` with the prompt's text: which prompt;
- ``model`` and ``against``: the rows whose answers were compared;
- ``preference``: ``model``, ``against`` or ``tie``;
- optional ``seed``, ``against_seed`` and ``sample`` (all 0), ``annotator`` (a name), ``response``
  and ``other`` (the two answers as they were shown: a label of other texts than the run's is not
  used);
- optional ``ratings`` of the two answers, ``{"response": {"helpful": 8}, "other": {...}}``, 1-10;
- optional ``expected``: the preference that is known to be right. Such a line screens its
  annotator and measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignbench.errors import UserError, nearest
from alignbench.files import write_jsonl
from alignbench.judges.base import FIRST, RUBRICS, SECOND, TIE
from alignbench.scoring.given import clean
from alignbench.scoring.records import read_entries
from alignbench.stage import StageContext

Record = dict[str, Any]
#: In the order (model, against): 1 = the model's answer is better.
PREFERENCES = {"model": FIRST, "tie": TIE, "against": SECOND}
TEXTS = ("prompt_id", "prompt", "annotator", "response", "other")
NUMBERS = ("seed", "against_seed", "sample")
RATED = ("response", "other")
KEYS = (*TEXTS, "model", "against", "preference", *NUMBERS, "ratings", "expected")
SHOWN = 10


def run(ctx: StageContext) -> None:
    """Write labels.jsonl.

    Config: ``path`` (the file), ``content`` (its digest, or None where it is not there).

    Raises:
        UserError: no such file, or lines that are no labels, all together.
    """
    write_jsonl(ctx.out / "labels.jsonl", read_labels(Path(ctx.config["path"]).expanduser()))


def read_labels(path: Path) -> list[Record]:
    """The labels of a file, ``preference`` as a number (1: the model's answer is better).

    Raises:
        UserError: see `run`.
    """
    problems, labels = [], []
    for entry in read_entries(path):
        line = entry.values
        found = list(_problems(line))
        problems += [f"{entry.place}: {problem}" for problem in found]
        if not found:
            labels.append(
                {name: _text(line.get(name)) for name in (*TEXTS, "model", "against")}
                | {
                    name: PREFERENCES.get(str(line.get(name)))
                    for name in ("preference", "expected")
                }
                | {name: line.get(name, 0) for name in NUMBERS}
                | {"ratings": line.get("ratings")}
            )
    if problems:
        more = [f"… and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise UserError(*problems[:SHOWN], *more)
    return labels


def _text(value: str | None) -> str | None:
    return None if value is None else clean(value)


def _problems(line: Mapping[str, Any]) -> list[str]:
    found = [
        f'unknown key "{key}"{nearest(key, KEYS)}; valid: {", ".join(KEYS)}'
        for key in line
        if key not in KEYS
    ]
    found += [
        f'"{name}" must be text'
        for name in TEXTS
        if line.get(name) is not None and not isinstance(line[name], str)
    ]
    found += [
        f'"{name}" must be the name of a row'
        for name in ("model", "against")
        if not isinstance(line.get(name), str)
    ]
    if line.get("prompt_id") is None and line.get("prompt") is None:
        found.append('"prompt_id" or "prompt" must say which prompt')
    told = line.get("preference")
    if not isinstance(told, str) or told not in PREFERENCES:
        found.append(f'"preference" must be one of {", ".join(PREFERENCES)}; found {told!r}')
    told = line.get("expected")
    if told is not None and (not isinstance(told, str) or told not in PREFERENCES):
        found.append(f'"expected" must be one of {", ".join(PREFERENCES)}; found {told!r}')
    for name in NUMBERS:
        value = line.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            found.append(f'"{name}" must be a whole number of at least 0')
    if not _are_ratings(line.get("ratings")):
        found.append(
            f'"ratings" must hold {" and ".join(RATED)}, each with whole numbers from 1 to 10 for '
            f"any of {', '.join(RUBRICS)}"
        )
    return found


def _are_ratings(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, dict) and all(
        side in RATED
        and isinstance(given, dict)
        and all(
            rubric in RUBRICS and type(number) is int and 1 <= number <= 10
            for rubric, number in given.items()
        )
        for side, given in value.items()
    )
