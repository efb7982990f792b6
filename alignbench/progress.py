"""What a run shows while it works: live bars on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from alignbench.errors import printable
from alignbench.plan import PlannedStage, remaining_paths

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


@dataclass
class _Live:
    """A running stage."""

    started: float
    done: float = 0.0
    total: float = 0.0
    metrics: Mapping[str, float | str] = field(default_factory=dict)

    def left(self, now: float) -> float | None:
        """Seconds to go at the pace so far; None when nothing has been done yet."""
        if self.done <= 0 or self.total <= 0:
            return None
        return (now - self.started) * max(0.0, self.total - self.done) / self.done


class Display:
    """Shows a run on `console`. A context manager; bars are removed when it is left."""

    def __init__(self, console: Console, planned: Sequence[PlannedStage], jobs: int) -> None:
        self.console, self.planned, self.jobs = console, planned, max(1, jobs)
        self.running: dict[str, _Live] = {}
        self.took: dict[str, float] = {}
        self.ended: set[str] = set()
        self.reused = 0
        self.bars: Bars | None = None
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Display:
        if self.console.is_terminal and not all(item.cached for item in self.planned):
            self.bars = _bars(self.console)
            self.bars.start()
            self.tasks[""] = self.bars.add_task("all stages", total=len(self.planned), told="")
        return self

    def __exit__(self, *error: object) -> None:
        if self.bars is not None:
            self.bars.stop()
        elif self.reused:
            self.say(f"{self.reused} of {len(self.planned)} stages were in the store")

    def say(self, text: str) -> None:
        """One line, whatever characters `text` has."""
        console = self.bars.console if self.bars is not None else self.console
        console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def started(self, name: str) -> None:
        """A worker has begun stage `name`."""
        self.running[name] = _Live(time.monotonic())
        if self.bars is None:
            self.say(f"{name}: started")
        else:
            self.tasks[name] = self.bars.add_task(name, total=None, told="")

    def progress(
        self, name: str, done: float, total: float, metrics: Mapping[str, float | str]
    ) -> None:
        """Stage `name` has done `done` of `total`."""
        live = self.running[name]
        live.done, live.total, live.metrics = done, total, metrics

    def finished(self, name: str, seconds: float, cached: bool) -> None:
        """Stage `name` is done, by a worker or long ago."""
        self.ended.add(name)
        if cached:
            self.reused += 1
        else:
            self.took[name] = seconds
            count = f"{len(self.ended)}/{len(self.planned)}"
            self.say(f"{name}: finished in {duration(seconds)} ({count} stages)")
        self._remove(name)

    def failed(self, name: str) -> None:
        """Stage `name` has failed."""
        self._remove(name)

    def _remove(self, name: str) -> None:
        self.running.pop(name, None)
        if self.bars is not None and name in self.tasks:
            self.bars.remove_task(self.tasks.pop(name))

    def refresh(self) -> None:
        """Bring the bars up to date."""
        if self.bars is None:
            return
        now = time.monotonic()
        for name, live in self.running.items():
            self.bars.update(
                self.tasks[name],
                completed=live.done,
                total=live.total or None,
                told=_told(live, now),
            )
        left = self.seconds_left(now)
        eta = "ETA –" if left is None else f"ETA {duration(left)}"
        self.bars.update(self.tasks[""], completed=len(self.ended), told=eta)

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


def _bars(console: Console) -> Bars:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        console=console,
        transient=True,
        refresh_per_second=5,
    )


def _told(live: _Live, now: float) -> str:
    parts = []
    if live.total:
        parts.append(f"{live.done:g}/{live.total:g}")
    left = live.left(now)
    if left is not None:
        parts.append(f"ETA {duration(left)}")
    parts += [
        f"{printable(name)} {value:.3g}"
        if isinstance(value, float)
        else printable(f"{name} {value}")
        for name, value in list(live.metrics.items())[:4]
    ]
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """``4.2 s``, ``3 min 05 s`` or ``2 h 07 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
