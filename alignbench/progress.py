"""What a run shows while it works: a live tree on a terminal, plain lines anywhere else.

Both come from a `Snapshot`, which is also written to ``progress.json`` for `alignbench show`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from alignbench.errors import UserError, printable
from alignbench.plan import PlannedStage, remaining_paths
from alignbench.terminal import snapshot as snapshots
from alignbench.terminal.findings import early_findings
from alignbench.terminal.snapshot import FILE, Notes, Snapshot, Spent, StageView, State
from alignbench.terminal.text import budget, duration, progress_line, said_line, tell
from alignbench.terminal.training_log import last_values, shown, spent, spent_at_end

if TYPE_CHECKING:
    from rich.console import Console

    from alignbench.store import Artifact
    from alignbench.terminal.live import LiveTree

__all__ = ["Display", "duration"]

REDRAW = 0.25
"""Seconds between redraws of the tree."""
LOOK = 2.0
"""Seconds between looks at the logs of running stages, and between writings of progress.json."""
LINE = 30.0
"""Seconds between a running stage's lines where there is no terminal."""
LEAST_SHARE = 1e-4
"""Of a stage's work, before which its pace says nothing."""
_UNREADABLE = (ValueError, ArithmeticError, AttributeError, RecursionError)
"""What files of a plug-in's training may lead to, which must not end the run that made them."""


@dataclass
class _Live:
    """A running stage."""

    started: float
    folder: Path | None = None
    done: float = 0.0
    total: float = 0.0
    metrics: Mapping[str, float | str] = field(default_factory=dict)
    logged: Mapping[str, float] = field(default_factory=dict)
    spent: Spent | None = None
    told: float = 0.0

    def share(self) -> float | None:
        """Of its work that is done; None when that is not known."""
        if not (math.isfinite(self.done) and math.isfinite(self.total) and self.total > 0):
            return None
        return min(max(self.done / self.total, 0.0), 1.0)

    def left(self, now: float) -> float | None:
        """Seconds to go at the pace so far; None when nothing has been done yet."""
        share = self.share()
        if share is None or share < LEAST_SHARE:
            return None
        return (now - self.started) * (1 - share) / share


class Display:
    """Shows a run on `console`. A context manager; the tree's last state stays when it is left.

    Args:
        console: a terminal that can move its cursor gets the tree, anything else plain lines.
        planned: the plan.
        jobs: worker processes.
        out: the run's folder, for ``progress.json``; None: it is not written.
    """

    def __init__(
        self,
        console: Console,
        planned: Sequence[PlannedStage],
        jobs: int,
        out: Path | None = None,
    ) -> None:
        self.console, self.planned, self.jobs, self.out = console, planned, max(1, jobs), out
        self.items = {item.stage.name: item for item in planned}
        self.running: dict[str, _Live] = {}
        self.took: dict[str, float] = {}
        self.ended: set[str] = set()
        self.broken: set[str] = set()
        self.spent: dict[str, Spent] = {}
        self.notes = Notes()
        self.reused = 0
        self.began = time.monotonic()
        self.tree: LiveTree | None = None
        self._drawn = self._looked = -math.inf

    def __enter__(self) -> Display:
        if self.console.is_interactive and not all(item.cached for item in self.planned):
            from alignbench.terminal.live import LiveTree

            self.tree = LiveTree(self.console)
            self.tree.start(self.snapshot())
        self._save()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self.running.clear()
        if self.tree is not None:
            self.tree.stop(self.snapshot())
        if kind is None and self.out is not None:
            (self.out / FILE).unlink(missing_ok=True)  # the results have everything
        else:
            self._save()
        for said in self.notes.all():
            if self.tree is not None or len(said.stages) > 1:
                self.say(said_line(said))
        if self.tree is None and self.reused:
            self.say(f"{self.reused} of {len(self.planned)} stages were in the store")

    def say(self, text: str) -> None:
        """One line, whatever characters `text` has."""
        tell(self.console, text)

    def note(self, name: str, kind: str, message: str, topic: str | None = None) -> None:
        """Stage `name` told something. What several stages tell is shown once, then counted."""
        if self.notes.add(name, kind, message, topic) and self.tree is None:
            self.say(f"{name}: {kind}: {message}")

    def started(self, name: str, folder: Path | None = None) -> None:
        """A worker has begun stage `name`, and writes its files to `folder`."""
        now = time.monotonic()
        self.running[name] = _Live(now, folder, told=now)
        if self.tree is None:
            self.say(f"{name}: started")

    def progress(
        self, name: str, done: float, total: float, metrics: Mapping[str, float | str]
    ) -> None:
        """Stage `name` has done `done` of `total`."""
        live = self.running[name]
        live.done, live.total, live.metrics = done, total, metrics

    def finished(self, name: str, seconds: float, cached: bool) -> None:
        """Stage `name` is done, by a worker or long ago."""
        self.running.pop(name, None)
        self.ended.add(name)
        if cached:
            self.reused += 1
            return
        self.took[name] = seconds
        if self.tree is None:
            left = self.seconds_left(time.monotonic())
            eta = "" if not left else f", ETA {duration(left)}"
            text = f"{name}: finished in {duration(seconds)}"
            text += f" ({len(self.ended)}/{len(self.planned)} stages{eta})"
            self.say(text)

    def look_at(self, name: str, made: Artifact, reward: Artifact | None) -> None:
        """Tell what a finished stage spent, and what the health rules say about it.

        Args:
            reward: the reward model it trained against, if any.
        """
        if name.startswith("train/") and (cost := spent_at_end(made.folder)) is not None:
            self.spent[name] = cost
            if self.tree is None and name in self.took:
                self.say(f"{name}: {budget(cost)}")
        try:
            findings = early_findings(name, made, reward)
        except (UserError, OSError, LookupError, TypeError, *_UNREADABLE) as error:
            reason = f"{type(error).__name__}: {error}"
            self.note(name, "warning", f"health rules could not read what it left ({reason})")
            return
        for found in findings:
            text = f"{found.finding} Remedy: {found.remedy}"
            self.note(name, f"health {found.level}", text, f"{found.row} {found.rule}")

    def failed(self, name: str) -> None:
        """Stage `name` has failed."""
        self.running.pop(name, None)
        self.broken.add(name)

    def refresh(self) -> None:
        """Bring what is shown, and ``progress.json``, up to date; cheap to call often."""
        now = time.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            for name, live in self.running.items():
                self._read_log(name, live)
            self._save()
        if self.tree is None:
            for name, live in self.running.items():
                if now - live.told >= LINE:
                    live.told = now
                    self.say(progress_line(self._stage(self.items[name], now)))
        elif now - self._drawn >= REDRAW:
            self._drawn = now
            self.tree.draw(self.snapshot())

    def _read_log(self, name: str, live: _Live) -> None:
        values = last_values(live.folder) if live.folder is not None else {}
        live.logged = shown(values)
        live.spent = spent(values, self.items[name].stage.config)

    def _save(self) -> None:
        if self.out is None:
            return
        try:
            snapshots.write(self.out, self.snapshot())
        except OSError as error:
            self.out = None
            self.say(
                f"warning: {FILE} cannot be written ({error.strerror}); "
                "`alignbench show` will not see how far running stages are"
            )

    def snapshot(self) -> Snapshot:
        """The run as it is now."""
        now = time.monotonic()
        return Snapshot(
            updated=time.time(),
            elapsed=now - self.began,
            left=self.seconds_left(now),
            stages=tuple(self._stage(item, now) for item in self.planned),
            notes=self.notes.all(),
        )

    def _stage(self, item: PlannedStage, now: float) -> StageView:
        name = item.stage.name
        if name in self.ended:
            seconds, cost = self.took.get(name), self.spent.get(name)
            state: State = "stored" if seconds is None else "finished"
            return StageView(name=name, state=state, seconds=seconds, spent=cost)
        live = self.running.get(name)
        if live is None:
            idle: State = "stored" if item.cached else "waiting"
            return StageView(name=name, state="failed" if name in self.broken else idle)
        told = live.logged or live.metrics
        return StageView(
            name=name,
            state="running",
            seconds=now - live.started,
            share=live.share(),
            left=live.left(now),
            spent=live.spent,
            metrics={
                printable(key): value if _is_finite(value) else printable(str(value))
                for key, value in list(told.items())[:5]
            },
        )

    def seconds_left(self, now: float) -> float | None:
        """Estimated wall seconds to the end; None while nothing is known of some stage's cost.

        The longer of the critical path and the work left shared among the workers. A stage's cost
        is what the store recorded, else what its kind (else any stage) took in this run.
        """
        costs = {}
        for item in self.planned:
            name = item.stage.name
            if name in self.ended:
                costs[name] = 0.0
                continue
            cost = self._cost(item)
            live = self.running.get(name)
            pace = live.left(now) if live is not None else None
            if live is not None and pace is None and cost is not None:
                pace = max(0.0, cost - (now - live.started))
            cost = pace if pace is not None else cost
            if cost is None:
                return None
            costs[name] = cost
        longest = max(remaining_paths(self.planned, costs).values(), default=0.0)
        return max(longest, sum(costs.values()) / self.jobs)

    def _cost(self, item: PlannedStage) -> float | None:
        if item.cached:
            return 0.0
        if item.seconds_estimate is not None:
            return item.seconds_estimate
        kind = item.stage.name.split("/")[0]
        alike = [seconds for name, seconds in self.took.items() if name.split("/")[0] == kind]
        known = alike or list(self.took.values())
        return fmean(known) if known else None


def _is_finite(value: float | str) -> bool:
    return not isinstance(value, str) and math.isfinite(value)
