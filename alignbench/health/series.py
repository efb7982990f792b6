"""Quantities of a training log over its steps, and what their noise allows to say.

A rule compares means over thirds of a log (never two single values) and asks for differences that
exceed `Z` standard errors. The noise of a single value is estimated from successive differences: a
slow trend is what we look for and must not count as noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MIN_VALUES = 15
"""Shorter logs are not judged: a third of five values is the least that has a standard error."""
Z = 3.0
"""Standard errors by which a threshold must be passed. Some fifteen rules look at each of some ten
runs: at 3 noise passes a threshold in one report of five even if every quantity lay exactly on it
(150 x 0.00135), at 2 it would do so three times in every report."""


class NotCheckedError(Exception):
    """A rule cannot be checked; the message says why. Unknown is not healthy."""


@dataclass(frozen=True)
class Window:
    """The mean of a stretch of a series.

    Attributes:
        mean: of its values; `error` is the standard error of it.
        first: the step of its first value; `last` that of its last.
    """

    mean: float
    error: float
    first: int
    last: int

    @property
    def low(self) -> float:
        """Lower bound of the mean."""
        return self.mean - Z * self.error

    @property
    def high(self) -> float:
        """Upper bound of the mean."""
        return self.mean + Z * self.error

    def evidence(self, name: str) -> dict[str, Any]:
        """For `Finding.evidence`: mean, standard error and steps under names with this prefix."""
        return {
            name: round(self.mean, 6),
            f"{name}_error": round(self.error, 6),
            f"{name}_steps": [self.first, self.last],
        }


@dataclass(frozen=True)
class Change:
    """The difference of two windows' means, with its standard error."""

    value: float
    error: float

    @classmethod
    def between(cls, before: Window, after: Window) -> Change:
        """`after` minus `before`."""
        return cls(after.mean - before.mean, math.hypot(before.error, after.error))

    @property
    def low(self) -> float:
        """Lower bound of the change."""
        return self.value - Z * self.error

    @property
    def high(self) -> float:
        """Upper bound of the change."""
        return self.value + Z * self.error


@dataclass(frozen=True)
class Series:
    """One quantity of a log: N finite values and the steps they were logged at, both (N,)."""

    name: str
    steps: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, log: Sequence[Mapping[str, Any]], name: str, least: int = MIN_VALUES) -> Series:
        """The values of `name` in a log, whose lines need not all have it.

        Raises:
            NotCheckedError: fewer than `least` finite values.
        """
        found = [
            (line.get("step", place), line[name])
            for place, line in enumerate(log, start=1)
            if isinstance(line.get(name), (int, float)) and math.isfinite(line[name])
        ]
        if not found:
            raise NotCheckedError(f"the log has no {name}")
        if len(found) < least:
            raise NotCheckedError(
                f"the log has {len(found)} values of {name}, at least {least} needed"
            )
        steps, values = zip(*found, strict=True)
        return cls(name, np.asarray(steps), np.asarray(values, dtype=float))

    def thirds(self) -> tuple[Window, Window, Window]:
        """The first, the middle and the last third."""
        cuts = [round(i * len(self.values) / 3) for i in range(4)]
        first, middle, last = (self._window(cuts[i], cuts[i + 1]) for i in range(3))
        return first, middle, last

    def start(self) -> Window:
        """The first two values: the model that training began with, or nearly so.

        (A collapse within the first third would otherwise pass for the normal state. The error is
        that of a typical value, since two values have no spread to speak of.)
        """
        return Window(
            float(self.values[:2].mean()),
            self._typical_noise() / math.sqrt(2),
            int(self.steps[0]),
            int(self.steps[1]),
        )

    def noise(self, start: int = 0) -> float:
        """Standard deviation of a value around the trend, over the values from `start` on."""
        return _noise(self.values[start:])

    def _typical_noise(self) -> float:
        """As `noise`, from the median step (the normal median is 0.954 sigma): no jump counts."""
        return float(np.median(np.abs(np.diff(self.values)))) / 0.954

    def _window(self, start: int, stop: int) -> Window:
        values = self.values[start:stop]
        # Of a few values the noise is poorly known: the whole log's helps where it is larger.
        error = max(_noise(values), self._typical_noise()) / math.sqrt(len(values))
        mean = float(values.mean())
        return Window(mean, error, int(self.steps[start]), int(self.steps[stop - 1]))


def _noise(values: np.ndarray) -> float:
    """Von Neumann's estimate: half the mean squared successive difference, as a deviation."""
    return math.sqrt(float(np.mean(np.diff(values) ** 2)) / 2)
