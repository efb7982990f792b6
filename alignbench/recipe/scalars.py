"""Unquoted YAML scalars, read strictly: where YAML 1.1 surprises its writers, it is an error."""

from __future__ import annotations

import math
import re

_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_TEXT_THAT_LOOKS_LIKE_FLOAT = re.compile(
    r"(?P<sign>[-+])?(?=\.?\d)(?P<whole>[\d_]*)(?:\.(?P<fraction>\d*))?"
    r"[eE](?P<exponent_sign>[-+])?(?P<exponent>\d+)"
)
_SWITCHES = {"on": True, "yes": True, "y": True, "off": False, "no": False, "n": False}


def read_scalar(text: str, tag: str) -> str | int | float | bool | None:
    """The value of the unquoted scalar `text`, in which YAML 1.1 sees the type `tag`.

    Raises:
        ValueError: where YAML's reading of `text` is unlikely to be the writer's.
    """
    if tag == "null":
        return None
    if text in ("true", "false"):
        return text == "true"
    lowered = text.lower()
    if tag == "bool" or lowered in _SWITCHES:
        meant = _SWITCHES.get(lowered, lowered == "true")
        raise ValueError(f'{text}: write {str(meant).lower()}, or "{text}" in quotes if it is text')
    if tag == "int":
        if not _DECIMAL.fullmatch(text) or len(text) > 18:
            raise ValueError(f"{text:.40}: write whole numbers in plain decimals, below 10^17")
        return int(text.replace("_", ""))
    if tag == "float":
        return _float(text)
    if looks := _TEXT_THAT_LOOKS_LIKE_FLOAT.fullmatch(text):
        raise ValueError(
            f'YAML reads "{text:.40}" as text; write {_spell(looks):.40} for the number, '
            f"or put it in quotes for the text"
        )
    return text


def _float(text: str) -> float:
    try:
        value = float(text.replace("_", ""))
    except ValueError:
        value = math.nan  # base 60 (`1:30.5`), `.inf` and `.nan`
    if not math.isfinite(value):
        raise ValueError(f"{text:.40}: write a finite decimal number")
    return value


def _spell(looks: re.Match[str]) -> str:
    """The same number with the dot and the exponent's sign that YAML 1.1 asks for."""
    number = f"{looks['sign'] or ''}{looks['whole'] or '0'}.{looks['fraction'] or '0'}"
    return f"{number}e{looks['exponent_sign'] or '+'}{looks['exponent']}"
