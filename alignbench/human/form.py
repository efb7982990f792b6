"""The form and its key: what annotators see, and what only the key can tell.

Ids, order and sides come from a secret that is drawn for every export and stays in the key. The
form holds texts and ids and nothing else of the run, so neither its HTML nor what comes back of it
says which model wrote what, or which question is a gold one.
"""

from __future__ import annotations

import hmac
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from alignbench.digest import sha256_json
from alignbench.errors import UserError
from alignbench.files import write_atomic
from alignbench.human.items import Item
from alignbench.judges.base import RUBRICS
from alignbench.judges.rubrics import RUBRIC_VERSION, TEXTS

Record = dict[str, Any]
SCHEMA = "alignbench-human-1"
SHORT = 8
"""Digits of a form's digest in file names."""


@dataclass(frozen=True)
class Shown:
    """An item as one form shows it.

    Attributes:
        id: random, of this form only.
        item: the two answers.
        first: whether `Item.response` is answer A.
    """

    id: str
    item: Item
    first: bool

    def texts(self) -> Record:
        """What the form holds of it."""
        pair = [self.item.response, self.item.other]
        a, b = pair if self.first else pair[::-1]
        return {"id": self.id, "prompt": self.item.prompt, "a": a, "b": b}


@dataclass(frozen=True)
class Form:
    """One form: its items in the order shown, and whether answers are rated too."""

    shown: Sequence[Shown]
    ratings: bool

    def content(self) -> Record:
        """Everything that an annotator is given; `digest` is of this."""
        return {
            "schema": SCHEMA,
            "rubric": RUBRIC_VERSION if self.ratings else None,
            "items": [shown.texts() for shown in self.shown],
        }

    @property
    def digest(self) -> str:
        """SHA-256 that answers name, to say which form they are of."""
        return sha256_json(self.content())


def blind(items: Sequence[Item], ratings: bool, secret: bytes, number: int) -> Form:
    """Shuffle items and sides.

    Args:
        items: of the form, gold questions among them.
        ratings: whether answers are rated too.
        secret: that nobody who fills in the form knows.
        number: of the form, among those of one export.
    """
    rng = random.Random(_hex(secret, f"order {number}"))
    order = list(items)
    rng.shuffle(order)
    shown = [
        Shown(_hex(secret, f"item {number} {at}")[:16], item, rng.random() < 0.5)
        for at, item in enumerate(order)
    ]
    return Form(shown, ratings)


def _hex(secret: bytes, text: str) -> str:
    return hmac.digest(secret, text.encode(), "sha256").hex()


def share_out(items: Sequence[Item], size: int, annotators: int, shared: int) -> list[list[Item]]:
    """The items of each annotator's form: the first `shared` for all, the rest one by one."""
    own = size - shared
    return [
        [*items[:shared], *items[shared + at * own : shared + (at + 1) * own]]
        for at in range(annotators)
    ]


def render_form(form: Form) -> str:
    """The HTML text of a form: self-contained, with one script that its policy names."""
    from alignbench.report.page import policy_of, render, script

    code = script("human_form.js")
    rubrics = [
        {"name": rubric, "question": TEXTS[rubric].question, "bands": TEXTS[rubric].bands}
        for rubric in RUBRICS
    ]
    return render(
        "human_form.html.jinja",
        policy=policy_of(code),
        code=code,
        content={**form.content(), "form": form.digest, "rubrics": list(RUBRICS)},
        rubrics=rubrics if form.ratings else [],
        items=len(form.shown),
    )


def write_key(path: Path, run: str, secret: bytes, seed: int, forms: Sequence[Form]) -> None:
    """Write what undoes the blinding, with a digest of its own content.

    Args:
        path: of the file.
        run: `stored.answers_digest` of the run.
        secret: of `blind`.
        seed: with which items were drawn.
        forms: of the export.

    Raises:
        UserError: the file cannot be written.
    """
    key = {
        "schema": SCHEMA,
        "run": run,
        "secret": secret.hex(),
        "seed": seed,
        "forms": [
            {
                "digest": form.digest,
                "ratings": form.ratings,
                "items": [
                    {"id": shown.id, "first": shown.first, "item": asdict(shown.item)}
                    for shown in form.shown
                ],
            }
            for form in forms
        ],
    }
    text = json.dumps({**key, "digest": sha256_json(key)}, indent=1) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def read_keys(found: Sequence[Path], named: Sequence[Path], run: str) -> dict[str, Form]:
    """Digest -> form, of all keys of this run.

    Args:
        found: keys in the run's folder; those of answers that were there before are passed over.
        named: keys that the user named.
        run: `stored.answers_digest` of the run.

    Raises:
        UserError: see `read_key`; also where `found` are all of other answers and none is named.
    """
    own = [path for path in found if _intact(path)["run"] == run]
    forms: dict[str, Form] = {}
    for path in [*own, *named] or found:
        forms |= read_key(path, run)
    return forms


def read_key(path: Path, run: str) -> dict[str, Form]:
    """Digest -> form, of a key file of this run.

    Raises:
        UserError: not a key, changed since it was written, or of another run.
    """
    key = _intact(path)
    if key["run"] != run:
        raise UserError(
            f"{path}: belongs to other answers than this run's; give the run it was exported from"
        )
    try:
        # As it was handed out: a digest made today would be of today's rubrics.
        return {str(entry["digest"]): _form(entry) for entry in key["forms"]}
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: not the key of a form of this alignbench") from error


def _intact(path: Path) -> Record:
    """The content of a key file that is as it was written."""
    try:
        key: Record = json.loads(path.read_text(encoding="utf-8"))
        found = key.pop("digest")
        intact = key["schema"] == SCHEMA and "run" in key and found == sha256_json(key)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not the key of a form; `human export` writes it") from error
    if not intact:
        raise UserError(f"{path}: changed since `human export` wrote it; export again")
    return key


def _form(entry: Mapping[str, Any]) -> Form:
    names = {field.name for field in fields(Item)}
    return Form(
        [
            Shown(
                line["id"],
                Item(**{name: value for name, value in line["item"].items() if name in names}),
                line["first"],
            )
            for line in entry["items"]
        ],
        entry["ratings"],
    )
