"""Follows the logs of a run's stages and passes them to a tracker, beside the run.

The record is each stage's log.jsonl, so that stages from the store have curves too. A thread reads
the logs of running stages every few seconds; how many lines of each stage a tracker has is kept in
`STATE` of the run's folder, so that none is sent twice. A tracker that fails is told once, noted
there, and left alone until the run's next start, which sends what is missing.
"""

from __future__ import annotations

import contextlib
import json
import math
import queue
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from alignbench.errors import printable
from alignbench.files import write_atomic
from alignbench.trackers.backends import Backend, Curve

STATE = "trackers.json"
LOG = "log.jsonl"
INTERVAL = 2.0
PATIENCE = 60.0
"""Seconds that a finished run waits for its tracker."""
LONGEST = 300
_PASSWORD = re.compile(r"://[^\s/@]+@")
Record = dict[str, Any]


@dataclass
class _Followed:
    """A stage and how much of its log has been read."""

    stage: str
    key: str
    folder: Path
    offset: int = 0
    lines: int = 0
    file: int | None = None
    curve: Curve | None = None
    done: bool = field(default=False)


class Tracking:
    """A context: everything that is told to it goes to the tracker, from a thread of its own.

    Args:
        backend: the tracker.
        name: of it, in `STATE` and in warnings.
        recipe: begins the names of runs.
        out: the run's folder.
        say: prints one line.
        interval: seconds between looks at the logs.
        patience: seconds to wait at the end.
    """

    def __init__(
        self,
        backend: Backend,
        name: str,
        recipe: str,
        out: Path,
        say: Callable[[str], None],
        interval: float = INTERVAL,
        patience: float = PATIENCE,
    ) -> None:
        self.backend, self.name, self.recipe, self.out, self.say = backend, name, recipe, out, say
        self.interval, self.patience = interval, patience
        self._told: queue.SimpleQueue[_Followed | None] = queue.SimpleQueue()
        self._followed: dict[str, _Followed] = {}
        self._state: Record = {}
        self._runs: dict[str, Record] = {}
        self._broken = False
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)

    def __enter__(self) -> Tracking:
        self._state = _read_state(self.out / STATE)
        own = self._state.setdefault(self.name, {})
        own["warning"] = None
        self._runs = own.setdefault("runs", {})
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._told.put(None)
        self._thread.join(self.patience if kind is None else min(self.patience, 5.0))
        if self._thread.is_alive():
            self.say(
                f"warning: tracker {self.name} did not take everything in time; not waited for"
            )

    def running(self, stage: str, key: str, folder: Path) -> None:
        """A worker has begun to fill `folder`."""
        self._told.put(_Followed(stage, key, folder))

    def finished(self, stage: str, key: str, folder: Path) -> None:
        """The stage's result is in `folder`, made now or long ago."""
        self._told.put(_Followed(stage, key, folder, done=True))

    def _work(self) -> None:
        while True:
            try:
                told = self._told.get(timeout=self.interval)
            except queue.Empty:
                for stage in list(self._followed.values()):
                    self._guarded(self._look, stage)
                continue
            if told is None:
                break
            self._guarded(self._hear, told)
        for stage in self._followed.values():
            self._guarded(self._close, stage)

    def _guarded(self, act: Callable[[_Followed], None], stage: _Followed) -> None:
        """A tracker may do harm to its curves only, whatever it raises."""
        if self._broken:
            return
        try:
            act(stage)
        except (Exception, SystemExit) as error:
            self._broken = True
            first = (str(error).strip().splitlines() or [""])[0]
            text = _PASSWORD.sub("://…@", printable(f"{type(error).__name__}: {first}"))[:LONGEST]
            self._state[self.name]["warning"] = text
            with contextlib.suppress(OSError):
                self._save()
            self.say(
                f"warning: tracker {self.name} failed ({text}); the run goes on without it, and "
                "the same command sends what is missing"
            )

    def _hear(self, told: _Followed) -> None:
        before = self._followed.get(told.stage)
        if before is None or before.key != told.key:
            self._followed[told.stage] = before = told
        else:  # the log has moved, and is the same
            before.folder, before.done = told.folder, told.done
        self._look(before)
        if before.done:
            self._close(before)
            del self._followed[told.stage]

    def _look(self, stage: _Followed) -> None:
        """Send the lines that are new."""
        if self._sent(stage).get("done"):
            return
        for step, values in list(_lines(stage)):
            sent = self._sent(stage)
            stage.lines += 1
            if stage.lines <= sent["lines"]:
                continue
            if values:
                if stage.curve is None:
                    name = f"{self.recipe}/{stage.stage.removeprefix('train/')}"
                    again = sent["lines"] > 0
                    stage.curve = self.backend.open(name, stage.key, sent.get("id"), again)
                    sent["id"] = stage.curve.id
                stage.curve.log(step, values)
            sent["lines"] = stage.lines
        if stage.lines:
            self._save()

    def _sent(self, stage: _Followed) -> Record:
        """What the tracker has of this stage; nothing where it was made with another key."""
        record = self._runs.get(stage.stage)
        if record is None or record["key"] != stage.key:
            record = self._runs[stage.stage] = {"key": stage.key, "lines": 0, "done": False}
        return record

    def _close(self, stage: _Followed) -> None:
        if stage.curve is not None:
            stage.curve.close(stage.done)
            stage.curve = None
        if stage.done and stage.lines:
            self._sent(stage)["done"] = True
            self._save()

    def _save(self) -> None:
        text = json.dumps(self._state, indent=1, sort_keys=True, allow_nan=False)
        write_atomic(self.out / STATE, text + "\n")


def _lines(stage: _Followed) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, numbers) of the complete lines that were not read yet; from the start in a new file.

    Where a stage has no log but results, the table is one line.
    """
    if (stage.folder / "results.json").is_file():
        if stage.lines == 0:
            yield 0, _table(stage.folder / "results.json")
        return
    try:
        with (stage.folder / LOG).open("rb") as file:
            status = (stage.folder / LOG).stat()
            if status.st_size < stage.offset or (stage.file not in (None, status.st_ino)):
                stage.offset = stage.lines = 0  # begun again, with less memory
            stage.file = status.st_ino
            file.seek(stage.offset)
            content = file.read()
    except FileNotFoundError:
        return
    whole = content[: content.rfind(b"\n") + 1]
    stage.offset += len(whole)
    for line in whole.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        yield _point(record if isinstance(record, dict) else {})


def _point(record: Mapping[str, Any]) -> tuple[int, dict[str, float]]:
    step = record.get("step") if _is_number(record.get("step")) else None
    values = {
        name: float(value) for name, value in record.items() if name != "step" and _is_number(value)
    }
    return (int(step), values) if isinstance(step, int | float) else (0, {})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _table(path: Path) -> dict[str, float]:
    """``<metric>/<row>`` -> value of the final table."""
    results = json.loads(path.read_text(encoding="utf-8"))
    return {
        f"{row['metric']}/{row['model']}": float(row["value"])
        for row in results["rows"]
        if row["value"] is not None
    }


def _read_state(path: Path) -> Record:
    """What earlier runs noted; nothing where that cannot be read (curves are then sent again)."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        runs = [run for own in state.values() for run in own["runs"].values()]
        if all(isinstance(r["key"], str) and isinstance(r["lines"], int) for r in runs):
            return dict(state)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    return {}
