"""Texts that nobody vouches for, as parts of a Markdown document: shown, and nothing more."""

from __future__ import annotations

import re

from alignbench.errors import printable

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#|~!$^])")
_START = re.compile(r"^(\d{1,9})([.)])|^([-+=:])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
_LINKS = re.compile(r"(?i)\b(https?|ftp|www)(?=[:.])")


def plain(text: str) -> str:
    """A line of text that renders as itself: no markup, HTML, links or mentions."""
    text = " ".join(printable(text).split())
    text = "".join(_ENTITIES.get(char, char) for char in text)
    text = _SPECIAL.sub(r"\\\1", text)
    text = _LINKS.sub(lambda found: f"{found[1][0]}&#8203;{found[1][1:]}", text)
    return _START.sub(lambda m: f"{m[1]}\\{m[2]}" if m[1] else f"\\{m[3]}", text)


def code(text: str) -> str:
    """A code span, also in the cell of a table."""
    text = printable(text).replace("|", "¦")
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    padding = " " if text.startswith("`") or text.endswith("`") or not text.strip() else ""
    return f"{fence}{padding}{text}{padding}{fence}"


def block(text: str, language: str = "") -> str:
    """A fenced block; lines of it cannot end it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    lines = "\n".join(printable(line) for line in text.splitlines())
    return f"{fence}{language}\n{lines}\n{fence}"


def table(headers: list[str], rows: list[list[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
