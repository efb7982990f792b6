"""What a check came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Verdict:
    """What a check came to.

    Attributes:
        check: its name.
        status: ``n/a`` where the clause does not concern the method.
        seen: what was seen, in one sentence.
    """

    check: str
    status: Literal["pass", "fail", "n/a"]
    seen: str


Finding = tuple[Literal["pass", "fail", "n/a"], str]


def passed(seen: str) -> Finding:
    """The clause is kept."""
    return "pass", seen


def failed(seen: str) -> Finding:
    """The clause is broken."""
    return "fail", seen


def not_applicable(why: str) -> Finding:
    """The clause does not concern this method."""
    return "n/a", why
