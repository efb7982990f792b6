"""How far a run has come: what the live view, ``progress.json`` and ``alignbench show`` share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alignbench.errors import printable
from alignbench.files import write_atomic

FILE = "progress.json"
"""In the folder of a run that is not finished; written by the run, read by `alignbench show`."""
LARGEST = 10_000_000
State = Literal["waiting", "running", "finished", "stored", "failed"]
Amount = Annotated[float, Field(ge=0, le=1e12)]
"""Seconds, a share or a time: what a forged file cannot make too large to show."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Spent(_Strict):
    """Budget of a method: `share` of it is spent (1: all), of `currency` where that is known."""

    share: Amount
    currency: str | None = None


class StageView(_Strict):
    """A stage as it is now.

    Attributes:
        state: ``stored``: it was in the store before the run.
        seconds: wall seconds it took, or has taken so far.
        share: of its work that is done, in 0..1; None while unknown.
        left: estimated seconds to its end.
        spent: of its budget.
        metrics: the last values, by short names.
    """

    name: str
    state: State = "waiting"
    seconds: Amount | None = None
    share: Annotated[float, Field(ge=0, le=1)] | None = None
    left: Amount | None = None
    spent: Spent | None = None
    metrics: Mapping[str, float | str] = {}


class Said(_Strict):
    """What one or several stages told: `kind` is that of a note, or ``health <level>``."""

    kind: str
    message: str
    stages: tuple[str, ...]


class Snapshot(_Strict):
    """A whole run.

    Attributes:
        updated: Unix time that it is true for.
        elapsed: seconds since the run began; None where nothing tells.
        left: estimated seconds to its end.
        stages: in the order of the plan.
        notes: in the order of their coming.
    """

    schema_version: Literal[1] = 1
    updated: Amount
    elapsed: Amount | None = None
    left: Amount | None = None
    stages: tuple[StageView, ...]
    notes: tuple[Said, ...] = ()

    @property
    def done(self) -> int:
        """How many stages are finished."""
        return sum(is_done(stage) for stage in self.stages)


class Notes:
    """What stages have told, each message once with everybody who told it."""

    def __init__(self) -> None:
        self._said: dict[str, Said] = {}

    def add(self, stage: str, kind: str, message: str, topic: str | None = None) -> bool:
        """Keep a message, and say whether it is new.

        Args:
            topic: of messages that count as the same though their numbers differ.
        """
        stage, kind, message = printable(stage), printable(kind), printable(message)
        key = json.dumps([kind, topic or message])
        known = self._said.get(key)
        if known is None:
            self._said[key] = Said(kind=kind, message=message, stages=(stage,))
        elif stage not in known.stages:
            self._said[key] = known.model_copy(update={"stages": (*known.stages, stage)})
        return known is None

    def all(self) -> tuple[Said, ...]:
        """In the order of their coming."""
        return tuple(self._said.values())


def is_done(stage: StageView) -> bool:
    """Whether there is nothing left to do for it."""
    return stage.state in ("finished", "stored")


def write(out: Path, snapshot: Snapshot) -> None:
    """Write ``progress.json``; a reader sees the old file or the new one.

    Raises:
        OSError: it cannot be written.
    """
    write_atomic(out / FILE, snapshot.model_dump_json() + "\n")


def read(out: Path) -> Snapshot | None:
    """``progress.json`` of a run's folder; None where there is none that can be read."""
    path = out / FILE
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return None
        return Snapshot.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError, RecursionError):
        return None
