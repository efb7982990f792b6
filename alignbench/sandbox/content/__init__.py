"""What the sandbox world contains: plain data and sentence templates, no behaviour."""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    """A list of words, written as one string to be easy to read and to extend."""
    return tuple(text.split())
