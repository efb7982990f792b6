"""Texts that may be published: printable, without places of a machine and without secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from alignbench.errors import printable

LONGEST = 4_000
_PLACE = re.compile(
    r"(?<![\w/…])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\",;:()<>]+[/\\])+[^\s/\\'\",;:()<>]*"
)
_WHOLE = re.compile(r"^(?:/|~|\.\.?[/\\]|[A-Za-z]:[/\\]|\\\\)")
_FILE = re.compile(r"file://[^\s'\"]+")
_SECRET = re.compile(
    r"\bhf_[A-Za-z0-9]{16,}|\bsk-[A-Za-z0-9_-]{16,}|\bgh[pousr]_[A-Za-z0-9]{20,}"
    r"|\bAKIA[0-9A-Z]{16}|\bBearer\s+\S{8,}|://[^\s/@:]+:[^\s/@]+@"
)


def problem_of(text: str) -> str | None:
    """Why a text must not be published; None where it may."""
    if len(text) > LONGEST:
        return f"longer than {LONGEST} characters"
    if not text.isprintable():
        return "has control or invisible characters"
    if _SECRET.search(text):
        return "looks like a secret (a token or password)"
    if _PLACE.search(text) or _FILE.search(text):
        return "names a place of a machine (a path)"
    return None


def cleaned(value: Any, known: Sequence[str] = ()) -> Any:
    """A JSON value whose texts are printable and name files by their last part only.

    Args:
        value: any JSON value; keys of mappings stay.
        known: places to take out wherever they stand, such as the run's folder; these may have
            spaces, of which a path in a sentence cannot be told.
    """
    if isinstance(value, str):
        return _clean(value, known)
    if isinstance(value, Mapping):
        return {key: cleaned(item, known) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(item, known) for item in value]
    return value


def is_place(text: str) -> bool:
    """Whether a setting names a file or folder of this machine (and no hub id)."""
    return _WHOLE.match(text) is not None or _FILE.match(text) is not None


def _clean(text: str, known: Sequence[str]) -> str:
    for place in sorted(known, key=len, reverse=True):
        if len(place) > 1:
            text = text.replace(place, _last(place))
    text = _FILE.sub(lambda found: _last(found[0]), text)
    if is_place(text) and " " not in text.strip():
        text = _last(text)
    text = printable(_PLACE.sub(lambda found: _last(found[0]), text))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _last(place: str) -> str:
    parts = [part for part in re.split(r"[/\\]+", place) if part]
    return f"…/{parts[-1]}" if parts else "…"


def places_in(value: Any) -> list[str]:
    """Every text in nested JSON that is a file or folder of this machine."""
    if isinstance(value, str):
        return [value] if is_place(value) else []
    items = value.values() if isinstance(value, Mapping) else value
    if not isinstance(value, Mapping | list):
        return []
    return [place for item in items for place in places_in(item)]
