"""Runs a plan on worker processes: what is in the store is verified and used, the rest is made.

The parent holds the lock of every stage it makes and never computes; a stage that another run is
making is waited for. Whatever ends the run, finished stages are in the store, and the same
command continues from there.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alignbench.errors import StageFailed, UserError, printable
from alignbench.keys import kind_of, source_digest, stage_key
from alignbench.machine import cuda, usable_cores, visible_gpus
from alignbench.plan import PlannedStage, plan, remaining_paths
from alignbench.pool import Pool
from alignbench.progress import Display
from alignbench.stage import Stage
from alignbench.store import Artifact, Corrupt, Store, is_stale
from alignbench.worker import Done, Failed, Job, Message, Note, Progress

if TYPE_CHECKING:
    from rich.console import Console

    from alignbench.trackers.follow import Tracking

__all__ = ["default_jobs", "execute", "file_name", "plan"]

POLL = 0.2
LOG_LINES = 15


def default_jobs() -> int:
    """Two workers where there are two cores: stages are single-threaded. One for each GPU."""
    return min(len(visible_gpus()) if cuda()[0] else 2, usable_cores())


def file_name(stage_name: str) -> str:
    """``train__ppo__0``: a stage's name as part of a file's name."""
    return stage_name.replace("/", "__")


def execute(
    stages: Sequence[Stage],
    store: Store,
    out: Path,
    jobs: int,
    console: Console,
    offline: bool = True,
    tracking: Tracking | None = None,
) -> dict[str, Artifact]:
    """Make or find the artifact of every stage.

    Args:
        stages: in topological order.
        store: where artifacts are.
        out: the run's folder; logs go to ``logs/``, manifests to ``manifests/``.
        jobs: worker processes, at least 1. A stage of several threads counts as so many.
        console: where progress and notes are shown.
        offline: keep the Hugging Face libraries of the workers off the network.
        tracking: is told where the logs of running and finished stages are.

    Returns:
        Stage name -> verified artifact.

    Raises:
        StageFailed: a stage raised or died; the message has the end of its log and the remedy.
        UserError: a stage found something for the user to repair.
        KeyboardInterrupt: after every worker has been ended.
    """
    (out / "logs").mkdir(parents=True, exist_ok=True)
    (out / "manifests").mkdir(exist_ok=True)
    store.clean()
    planned = plan(stages, store)
    with Display(console, planned, jobs, out) as display:
        run = _Run(planned, store, out, jobs, display, tracking)
        try:
            with Pool(out / "logs", offline) as pool:
                return run.to_the_end(pool)
        finally:
            run.release()


@dataclass
class _Active:
    """A stage that a worker is making."""

    item: PlannedStage
    inputs: Mapping[str, Artifact]
    folder: Path
    slots: int


class _Run:
    """State of one `execute`: what waits, what runs, what is finished."""

    def __init__(
        self,
        planned: Sequence[PlannedStage],
        store: Store,
        out: Path,
        jobs: int,
        display: Display,
        tracking: Tracking | None,
    ) -> None:
        self.store, self.out, self.jobs = store, out, max(1, jobs)
        self.display, self.tracking = display, tracking
        costs = {
            item.stage.name: 0.0 if item.cached else item.seconds_estimate or 1.0
            for item in planned
        }
        longest = remaining_paths(planned, costs)
        self.waiting = sorted(planned, key=lambda item: -longest[item.stage.name])
        self.active: dict[str, _Active] = {}
        self.locks: dict[str, int] = {}
        self.finished: dict[str, Artifact] = {}
        self.notes: dict[str, list[dict[str, str]]] = {}
        self.elsewhere: set[str] = set()
        self.failure: UserError | None = None
        self.order = [item.stage.name for item in planned]

    def to_the_end(self, pool: Pool) -> dict[str, Artifact]:
        """Run until everything is finished, or until what runs after a failure has ended."""
        while self.active or (self.waiting and self.failure is None):
            if self.failure is None:
                self._start_what_can(pool)
            if self.active:
                for job, message in pool.messages(POLL):
                    self._hear(self.active[job.name], message)
            elif self.waiting:  # for another run
                time.sleep(POLL)
            self.display.refresh()
        if self.failure is not None:
            raise self.failure
        return {name: self.finished[name] for name in self.order}

    def release(self) -> None:
        """Free the locks and remove the temporary folders of what was not finished."""
        for active in self.active.values():
            shutil.rmtree(active.folder, ignore_errors=True)
        for handle in self.locks.values():
            os.close(handle)
        self.locks.clear()

    def _start_what_can(self, pool: Pool) -> None:
        """Use what is stored and start what is ready, longest remaining path first.

        A stage that needs more slots than are free holds back those behind it, else it would
        never start.
        """
        again = True
        while again:
            again = False
            free = self.jobs - sum(active.slots for active in self.active.values())
            for item in list(self.waiting):
                if not all(name in self.finished for name in item.stage.inputs.values()):
                    continue
                found = self._stored(item)
                slots = min(item.stage.threads, self.jobs)
                if found is None and slots > free:
                    break
                if found is None and self._lock(item):
                    found = self._stored(item)
                    if found is None:
                        self.waiting.remove(item)
                        self._launch(item, slots, pool)
                        free -= slots
                if found is not None:
                    self.waiting.remove(item)
                    self._finish(item, found, cached=True)
                    again = True

    def _lock(self, item: PlannedStage) -> bool:
        """Get the key's lock, or say once that another run has it."""
        handle = self.store.try_lock(item.key)
        if handle is not None:
            self.locks[item.key] = handle
            return True
        name = item.stage.name
        if item.key not in self.locks and name not in self.elsewhere:
            self.elsewhere.add(name)
            self.display.say(f"{name}: another run is making it; waiting for that")
        return False

    def _unlock(self, item: PlannedStage) -> None:
        if item.key in self.locks:
            os.close(self.locks.pop(item.key))

    def _inputs(self, item: PlannedStage) -> dict[str, Artifact]:
        return {role: self.finished[name] for role, name in item.stage.inputs.items()}

    def _stored(self, item: PlannedStage) -> Artifact | None:
        """The stage's verified artifact, if any.

        One that is corrupt or stale counts as none, and who holds the lock puts it out of the way.
        """
        name, kind = item.stage.name, kind_of(item.stage.name)
        locked = item.key in self.locks
        try:
            found = self.store.read(kind, item.key)
        except Corrupt as error:
            if locked:
                aside = self.store.set_aside(kind, item.key)
                text = f"stored artifact was corrupt and is made again: {error}; moved to {aside}"
                self._note(name, "warning", text)
            return None
        if found is not None and is_stale(found, self._inputs(item)):
            if locked:
                self.store.discard(kind, item.key)
                self.display.say(f"{name}: its inputs have changed; made again")
            return None
        return found

    def _note(self, name: str, kind: str, message: str) -> None:
        self.notes.setdefault(name, []).append({"kind": kind, "message": message})
        self.display.note(name, kind, message)

    def _launch(self, item: PlannedStage, slots: int, pool: Pool) -> None:
        stage, inputs = item.stage, self._inputs(item)
        folder = self.store.temporary(kind_of(stage.name), item.key)
        self.active[stage.name] = _Active(item, inputs, folder, slots)
        self.display.started(stage.name, folder)
        pool.start(
            Job(
                name=stage.name,
                entry=stage.entry,
                config=dict(stage.config),
                inputs={role: str(given.folder.absolute()) for role, given in inputs.items()},
                out=str(folder.absolute()),
                log=str(self._log(stage.name).absolute()),
                threads=stage.threads,
                cache=str(self.store.cache.absolute()),
            )
        )
        if self.tracking is not None:
            self.tracking.running(stage.name, item.key, folder)

    def _log(self, name: str) -> Path:
        return self.out / "logs" / f"{file_name(name)}.log"

    def _hear(self, active: _Active, message: Message) -> None:
        name = active.item.stage.name
        if isinstance(message, Progress):
            self.display.progress(name, message.done, message.total, message.metrics)
        elif isinstance(message, Note):
            self._note(name, message.kind, message.message)
        elif isinstance(message, Done):
            self._commit(active, message)
        else:
            self._fail(active, message)

    def _commit(self, active: _Active, done: Done) -> None:
        item = active.item
        if _source_changed(item, active.inputs):
            message = "its source was edited during the run, so its result is not kept; run again"
            self._fail(active, Failed(message, user=True))
            return
        try:
            artifact = self.store.commit(
                active.folder,
                item.stage,
                item.key,
                active.inputs,
                self.notes.get(item.stage.name, ()),
                done.seconds,
                done.peak_rss_bytes,
            )
        except (UserError, OSError) as error:
            self._fail(active, Failed(f"its result cannot be stored: {error}", user=False))
            return
        del self.active[item.stage.name]
        self._finish(item, artifact, cached=False)

    def _finish(self, item: PlannedStage, artifact: Artifact, cached: bool) -> None:
        self._unlock(item)
        name = item.stage.name
        self.finished[name] = artifact
        copy = self.out / "manifests" / f"{file_name(name)}.json"
        shutil.copyfile(artifact.folder / "manifest.json", copy)
        self.display.finished(name, float(artifact.manifest["seconds"]), cached)
        if self.tracking is not None:
            self.tracking.finished(name, item.key, artifact.folder)
        if cached:
            for note in artifact.manifest["notes"]:
                self.display.note(name, note["kind"], note["message"])
        self.display.look_at(name, artifact, self._inputs(item).get("reward"))

    def _fail(self, active: _Active, failed: Failed) -> None:
        name = active.item.stage.name
        del self.active[name]
        shutil.rmtree(active.folder, ignore_errors=True)
        self._unlock(active.item)
        self.display.failed(name)
        if self.failure is None:
            others = ", ".join(self.active)
            waiting = f"; waiting for {others} to finish" if others else ""
            self.display.say(f"{name}: failed{waiting}")
            self.failure = self._explain(name, failed)

    def _explain(self, name: str, failed: Failed) -> UserError:
        if failed.user:
            return UserError(*(f"stage {name}: {line}" for line in failed.message.splitlines()))
        log = self._log(name)
        return StageFailed(
            f"stage {name} failed: {printable(failed.message)}",
            *(f"  | {line}" for line in _tail(log)),
            f"  full log: {log}",
            "  Finished stages are kept; after the repair, the same command continues from there.",
        )


def _source_changed(item: PlannedStage, inputs: Mapping[str, Artifact]) -> bool:
    """Whether the key, and with it the code that the worker may have imported, is another now."""
    source_digest.cache_clear()
    return stage_key(item.stage, {role: given.key for role, given in inputs.items()}) != item.key


def _tail(log: Path) -> list[str]:
    try:
        with log.open(encoding="utf-8", errors="replace") as lines:
            last = deque(lines, maxlen=LOG_LINES)
    except OSError:
        return []
    return [printable(line.rstrip("\n"))[:300] for line in last]
