"""What annotators send back: checked, and turned into labels.

The files come from anywhere: everything in them is checked, and all problems are told together.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from alignbench.errors import UserError, nearest, printable
from alignbench.human.form import SCHEMA, Form, Shown
from alignbench.human.items import Item

Record = dict[str, Any]
LARGEST = 20_000_000
"""Bytes: a thousand answered questions take a fifth of a megabyte."""
LONGEST_NAME = 80
SHOWN = 10
PROBLEMS_OF_A_FILE = 5

Rating = Annotated[StrictInt, Field(ge=1, le=10)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Ratings(_Strict):
    helpful: Rating | None = None
    harmless: Rating | None = None
    honest: Rating | None = None


class _Answer(_Strict):
    id: StrictStr = Field(max_length=64)
    choice: Literal["a", "b", "tie"]
    a: _Ratings = _Ratings()
    b: _Ratings = _Ratings()


class _File(_Strict):
    schema_: Literal["alignbench-human-1"] = Field(alias="schema")
    form: StrictStr = Field(max_length=64)
    annotator: StrictStr = Field(min_length=1, max_length=LONGEST_NAME)
    answers: list[_Answer] = Field(min_length=1)


@dataclass(frozen=True)
class Filled:
    """A form that somebody filled in, or a part of it."""

    path: Path
    annotator: str
    form: Form
    answers: Sequence[tuple[Shown, _Answer]]


def read_filled(paths: Sequence[Path], forms: Mapping[str, Form]) -> list[Filled]:
    """Every file, checked by itself and against the others.

    Args:
        paths: of the downloads.
        forms: digest -> form, of all keys.

    Raises:
        UserError: everything that is wrong with any of them.
    """
    problems: list[str] = []
    found = []
    for path in paths:
        try:
            found.append(_read(path, forms))
        except UserError as error:
            problems += error.problems
    problems += _twice(found)
    if problems:
        more = [f"… and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise UserError(*problems[:SHOWN], *more)
    return found


def _read(path: Path, forms: Mapping[str, Form]) -> Filled:
    name = printable(str(path))
    content = _parse(path, name)
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        found = [f"{name}: {_explained(problem)}" for problem in error.errors()]
        rest = len(found) - PROBLEMS_OF_A_FILE
        more = [f"{name}: … and {rest} more"] if rest > 0 else []
        raise UserError(*found[:PROBLEMS_OF_A_FILE], *more) from error
    form = forms.get(file.form)
    if form is None:
        raise UserError(
            f"{name}: form: {printable(file.form[:16])}… is no form of this run; import it into "
            "the run it was exported from, or name the key with --key"
        )
    annotator = " ".join(unicodedata.normalize("NFC", file.annotator).split())
    if not annotator or not _encodable(annotator):
        raise UserError(f"{name}: annotator: must be a name")
    return Filled(path, annotator, form, _matched(name, file, form))


def _matched(name: str, file: _File, form: Form) -> list[tuple[Shown, _Answer]]:
    """Each answer with what it is an answer to."""
    known = {shown.id: shown for shown in form.shown}
    seen: set[str] = set()
    problems, found = [], []
    for number, answer in enumerate(file.answers):
        place = f"{name}: answers.{number}"
        if answer.id not in known:
            problems.append(f"{place}.id: {printable(answer.id)!r} is no question of the form")
        elif answer.id in seen:
            problems.append(f"{place}.id: {answer.id!r} is answered twice")
        elif not form.ratings and _rated(answer):
            problems.append(f"{place}: has ratings, for which the form did not ask")
        else:
            found.append((known[answer.id], answer))
        seen.add(answer.id)
    if problems:
        raise UserError(*problems[:PROBLEMS_OF_A_FILE])
    return found


def _rated(answer: _Answer) -> bool:
    return bool(_given(answer.a) or _given(answer.b))


def _given(ratings: _Ratings) -> dict[str, int]:
    return ratings.model_dump(exclude_none=True)


def _twice(files: Sequence[Filled]) -> Iterator[str]:
    """One person's two answers to one pair: a file given twice, or one name for two people.

    Gold questions are the same in all forms of an export, so whoever fills in two gets them twice.
    """
    seen: dict[tuple[str, Item], int] = {}
    clashes = set()
    for number, file in enumerate(files):
        for shown in (shown for shown, _ in file.answers if not shown.item.gold):
            first = seen.setdefault((file.annotator.casefold(), shown.item), number)
            if first != number:
                clashes.add((first, number))
    for first, second in sorted(clashes):
        path, before = printable(str(files[second].path)), printable(str(files[first].path))
        yield (
            f'{path}: annotator "{printable(files[second].annotator)}" has answered the same '
            f"questions in {before}; leave one out, or tell two people apart by their names"
        )


def labels(files: Sequence[Filled]) -> list[Record]:
    """Lines of labels.jsonl (see `stages.human`), one for each answer.

    A person has one name, as it was spelt first, and one answer to a gold question, the first.
    """
    names: dict[str, str] = {}
    asked: set[tuple[str, Item]] = set()
    lines = []
    for file in files:
        name = names.setdefault(file.annotator.casefold(), file.annotator)
        for shown, answer in file.answers:
            if shown.item.gold and (name, shown.item) in asked:
                continue
            asked.add((name, shown.item))
            lines.append(_label(name, shown, answer))
    return lines


def _label(annotator: str, shown: Shown, answer: _Answer) -> Record:
    item = shown.item
    own, other = (answer.a, answer.b) if shown.first else (answer.b, answer.a)
    sides = {"a": "model", "b": "against"} if shown.first else {"a": "against", "b": "model"}
    rated = {"response": _given(own), "other": _given(other)}
    line = {
        "prompt_id": item.prompt_id,
        "prompt": None if item.prompt_id is not None else item.prompt,
        "model": item.model,
        "seed": item.seed,
        "against": item.against,
        "against_seed": item.against_seed,
        "sample": item.sample,
        "response": item.response,
        "other": item.other,
        "annotator": annotator,
        "preference": sides.get(answer.choice, "tie"),
        "ratings": rated if any(rated.values()) else None,
        "expected": "model" if item.gold else None,
    }
    return {name: value for name, value in line.items() if value is not None}


def _parse(path: Path, name: str) -> Any:
    def refuse(text: str) -> NoReturn:
        raise ValueError(f"{text} is no number")

    try:
        with path.open("rb") as handle:
            raw = handle.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise UserError(f"{name}: larger than {LARGEST:,} bytes; not a file of answers")
        return json.loads(raw.decode("utf-8-sig"), parse_constant=refuse)
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{name}: not the JSON that a form hands out ({str(error)[:80]})"
        ) from error


def _explained(problem: Mapping[str, Any]) -> str:
    """A complaint of pydantic with its place, and the nearest name for an unknown one."""
    place = printable(".".join(map(str, problem["loc"])))[:120]
    if problem["type"] == "extra_forbidden":
        valid = [
            field.alias or name
            for model in (_File, _Answer, _Ratings)
            for name, field in model.model_fields.items()
        ]
        last = str(problem["loc"][-1])[:LONGEST_NAME]
        return f"{place}: unknown field{nearest(last, valid)}"
    if place == "schema":
        return f"schema: must be {SCHEMA}; was the file made by a form of this alignbench?"
    return f"{place or 'file'}: {problem['msg']}"


def _encodable(text: str) -> bool:
    """Whether a text is Unicode: half a surrogate pair is not."""
    return not any(unicodedata.category(char) == "Cs" for char in text)
