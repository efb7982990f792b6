"""What a health rule is, what it reads and what it finds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from alignbench.files import read_jsonl

Level = Literal["warning", "error"]
"""`error`: the row's figures say little about the method. `warning`: look at it."""


@dataclass(frozen=True)
class TrainingRecord:
    """What a train stage left behind.

    Attributes:
        row: the row of the recipe; `seed` its training seed; `method` the method's name.
        options: the method's options as resolved by the recipe.
        log: the lines of ``log.jsonl``.
        metrics: ``metrics.json``.
        reward_model: ``metrics.json`` of the reward model it trained against, None without one.
        curve: points of the budget curve ({"fraction", "reward_proxy", "reward_gold", "kl"}, each
            figure an interval {value, low, high}), None without snapshots.
    """

    row: str
    seed: int
    method: str
    options: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    reward_model: Mapping[str, Any] | None = None
    curve: Sequence[Mapping[str, Any]] | None = None

    @classmethod
    def read(
        cls,
        folder: Path,
        options: Mapping[str, Any],
        reward_model: Mapping[str, Any] | None = None,
        curve: Sequence[Mapping[str, Any]] | None = None,
    ) -> TrainingRecord:
        """The record of a finished train stage's folder."""
        metrics = json.loads((folder / "metrics.json").read_text())
        return cls(
            row=metrics["row"],
            seed=metrics["seed"],
            method=metrics["method"],
            options=options,
            log=read_jsonl(folder / "log.jsonl"),
            metrics=metrics,
            reward_model=reward_model,
            curve=curve,
        )

    def key(self, name: str) -> str | None:
        """The recipe key of an option with its value, None where the method has no such option.

        (An option of a method inside a method, RLAIF's `dpo` say, is found there.)
        """
        if name in self.options:
            return _key(f"methods.{self.row}.{name}", self.options[name])
        for inner, options in self._inner():
            if name in options:
                return _key(f"methods.{self.row}.{inner}.{name}", options[name])
        return None

    def value(self, name: str) -> Any:
        """The value of an option that `key` finds; None where there is none."""
        for options in (self.options, *(inner for _, inner in self._inner())):
            if name in options:
                return options[name]
        return None

    def _inner(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Options that are themselves options of a method; the one in use (`then`) alone."""
        then = self.options.get("then")
        names = [then] if isinstance(then, str) and then in self.options else [*self.options]
        found = [(name, self.options[name]) for name in names]
        return [(name, value) for name, value in found if isinstance(value, Mapping)]


@dataclass(frozen=True)
class RewardModelRecord:
    """What a reward stage left behind.

    Attributes:
        split: ``proxy`` or ``gold``.
        options: `reward_model` of the recipe.
        log: the lines of ``log.jsonl``.
        metrics: ``metrics.json`` (see `stages.reward.held_out`).
    """

    split: str
    options: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]
    metrics: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path, split: str, options: Mapping[str, Any]) -> RewardModelRecord:
        """The record of a finished reward stage's folder."""
        metrics = json.loads((folder / "metrics.json").read_text())
        return cls(split, options, read_jsonl(folder / "log.jsonl"), metrics)

    @property
    def row(self) -> str:
        """Its place in a list of findings."""
        return f"reward/{self.split}"

    @property
    def seed(self) -> None:
        """None: the reward models are trained once, for all rows and seeds."""
        return None

    def key(self, name: str) -> str | None:
        """The recipe key of a reward-model setting with its value, None where there is none."""
        if name not in self.options:
            return None
        return _key(f"reward_model.{name}", self.options[name])


def _key(path: str, value: Any) -> str:
    return f"{path} (now {value})"


@dataclass(frozen=True)
class Symptom:
    """What a rule's check saw.

    Attributes:
        finding: one sentence with its numbers.
        evidence: those numbers, and the steps they come from, by name.
    """

    finding: str
    evidence: Mapping[str, Any]
    level: Level = "warning"


@dataclass(frozen=True)
class Finding:
    """A rule that fired: everything a report says about it.

    Attributes:
        rule: name of the rule.
        row: row of the recipe, or the reward model (``reward/proxy``).
        seed: training seed, None for a reward model.
        source: section of the seed document that the rule comes from.
    """

    rule: str
    row: str
    seed: int | None
    level: Level
    finding: str
    evidence: Mapping[str, Any]
    remedy: str
    source: str


@dataclass(frozen=True)
class Unchecked:
    """A rule that could not be checked, and why."""

    rule: str
    row: str
    seed: int | None
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """What the rules say about one training: `healthy` names those that looked and saw nothing."""

    findings: Sequence[Finding] = ()
    unchecked: Sequence[Unchecked] = ()
    healthy: Sequence[str] = ()


Record = TypeVar("Record", TrainingRecord, RewardModelRecord)


@dataclass(frozen=True)
class Rule(Generic[Record]):
    """One line of a debugging table.

    Attributes:
        name: unique among rules.
        sees: what it looks at, for the reader of docs/health.md; `threshold` likewise.
        remedy: what to do; ``{a}`` stands for the recipe key of option a, ``{a|b}`` for that of
            the first which the method has.
        source: section of the seed document.
        check: the symptom, None if there is none; raises `NotCheckedError`.
    """

    name: str
    sees: str
    threshold: str
    remedy: str
    source: str
    check: Callable[[Record], Symptom | None]

    def described(self) -> tuple[str, ...]:
        """Its line in the table of docs/health.md."""
        return (f"`{self.name}`", self.sees, self.threshold, self.remedy_for(None), self.source)

    def remedy_for(self, record: Record | None) -> str:
        """The remedy with the record's recipe keys and values; bare option names without one."""

        def fill(match: re.Match[str]) -> str:
            names = match[1].split("|")
            if record is None:
                return " or ".join(f"`{name}`" for name in names)
            keys = (record.key(name) for name in names)
            return next((key for key in keys if key is not None), names[0])

        return re.sub(r"\{([a-z_|]+)\}", fill, self.remedy)
