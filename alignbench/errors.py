"""Errors that a user can act on, and the exit codes of the command line.

A `UserError` is printed as its message alone; anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every `alignbench` command."""

    OK = 0
    REGRESSION = 1
    BAD_INPUT = 2
    INCONCLUSIVE = 3
    STAGE_FAILED = 4
    BUG = 70
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class UserError(Exception):
    """Bad input, with every problem found and what to do about each (exit 2)."""

    exit_code = Exit.BAD_INPUT

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


class StageFailed(UserError):
    """A stage of a run failed; what had finished stays in the store (exit 4)."""

    exit_code = Exit.STAGE_FAILED


def printable(text: str) -> str:
    """`text` with every character that could upset a terminal written as an escape."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def nearest(name: str, valid: Iterable[str]) -> str:
    """' (did you mean "x"?)' for the valid name nearest to `name`, or '' when none is near."""
    close = difflib.get_close_matches(name, sorted(valid), n=1, cutoff=0.6)
    return f' (did you mean "{close[0]}"?)' if close else ""
