"""The search space of a row: which of its options vary, and over what. Imports no torch.

learning_rate: {low: 1.0e-4, high: 1.0e-3, log: true}   # a range
rollouts: {low: 20, high: 60}                           # whole numbers, as both ends are
kl_coef: [0.02, 0.05, 0.1]                              # choices
dpo.learning_rate: ...                                  # an option within a section
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones if `whole`.

    With `log`, equal ratios are equally likely at first, instead of equal differences.
    """

    low: float
    high: float
    log: bool
    whole: bool

    def __contains__(self, value: object) -> bool:
        return is_number(value, self.whole) and self.low <= value <= self.high  # type: ignore[operator]

    def size(self) -> float:
        """Number of values; infinite unless `whole`."""
        return self.high - self.low + 1 if self.whole else math.inf

    def corners(self) -> tuple[Any, ...]:
        """Values which, if all are valid, make it likely that those between are."""
        return self.low, self.high


@dataclass(frozen=True)
class Choice:
    """One of several values of any kind."""

    values: tuple[Any, ...]

    def __contains__(self, value: object) -> bool:
        return any(_same(value, choice) for choice in self.values)

    def index(self, value: object) -> int:
        """Place of a value among the choices.

        Raises:
            ValueError: it is none of them.
        """
        for place, choice in enumerate(self.values):
            if _same(value, choice):
                return place
        raise ValueError(f"{value!r} is none of {self.values}")

    def size(self) -> float:
        """Number of values."""
        return len(self.values)

    def corners(self) -> tuple[Any, ...]:
        """All values."""
        return self.values


Dimension = Range | Choice
Space = Mapping[str, Dimension]


def is_number(value: object, whole: bool = False) -> bool:
    """A finite int or float that is no bool; an int if `whole`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, int) if whole else math.isfinite(value)


def _same(a: object, b: object) -> bool:
    """Equal and not just alike: True is not 1."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def parse(written: object) -> Dimension:
    """What a recipe says about one option.

    Raises:
        ValueError: it is neither choices nor a range; the message says what is wrong with it.
    """
    if isinstance(written, Sequence) and not isinstance(written, str):
        return _choices(written)
    if isinstance(written, Mapping):
        return _range(written)
    raise ValueError(
        "must be a list of choices, or a range {low: ..., high: ..., log: true or false}"
    )


def _choices(written: Sequence[Any]) -> Choice:
    if len(written) < 2:
        raise ValueError("must have at least two choices")
    for place, value in enumerate(written):
        if any(_same(value, other) for other in written[:place]):
            raise ValueError(f"has {value!r} twice")
    return Choice(tuple(written))


def _range(written: Mapping[str, Any]) -> Range:
    if unknown := sorted(set(written) - {"low", "high", "log"}):
        raise ValueError(f"has {', '.join(unknown)}; keys of a range: low, high, log")
    low, high, log = written.get("low"), written.get("high"), written.get("log", False)
    if not (is_number(low) and is_number(high)):
        raise ValueError("must have two numbers low and high")
    if not isinstance(log, bool):
        raise ValueError("log must be true or false")
    assert isinstance(low, (int, float))
    assert isinstance(high, (int, float))
    if low >= high:
        raise ValueError(f"low ({low}) must be below high ({high})")
    if log and low <= 0:
        raise ValueError(f"low ({low}) must be above 0 with log: true")
    return Range(low, high, log, isinstance(low, int) and isinstance(high, int))


def flattened(options: Options, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every option; sections by their parts."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def replaced(options: Options, params: Options) -> dict[str, Any]:
    """A copy of `options` with the values of dotted names replaced.

    Raises:
        KeyError: an option that is not there.
    """
    result = dict(options)
    for name, value in params.items():
        first, _, rest = name.partition(".")
        if first not in result or (rest and not isinstance(result[first], Mapping)):
            raise KeyError(name)
        result[first] = replaced(result[first], {rest: value}) if rest else value
    return result
