"""How far a run has come, from its folder alone: for `alignbench show`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignbench.run_folder import manifest_name
from alignbench.run_record import RECORD, load_record
from alignbench.terminal.live import LiveTree
from alignbench.terminal.snapshot import Notes, Snapshot, StageView, is_done, read
from alignbench.terminal.text import duration, progress_line, said_line, tell

if TYPE_CHECKING:
    from rich.console import Console

SILENT = 120.0
"""Seconds without a sign of life after which a run is said to give none."""
POLL = 1.0
LINE = 30.0
"""Seconds between a running stage's lines where there is no terminal."""
LONGEST = 1e12
"""Seconds that `StageView` can hold: a manifest of more was not written by a run."""
Record = Mapping[str, Any]


def snapshot_of(folder: Path, record: Record) -> Snapshot:
    """The state of a run.

    Finished is what has a manifest with the key of this run; what runs, and how far it is, comes
    from ``progress.json``.

    Args:
        folder: of the run.
        record: its ``run.json``.
    """
    told = read(folder)
    views = {} if told is None else {view.name: view for view in told.stages}
    going = record["state"] == "running"
    since = 0.0 if told is None else max(0.0, time.time() - told.updated)
    notes = Notes()
    stages = []
    for stage in record["stages"]:
        view = views.get(stage["stage"], StageView(name=stage["stage"]))
        manifest = _manifest(folder, stage)
        if manifest is None:
            stages.append(_unfinished(view, going, since))
            continue
        state = "stored" if stage.get("cached") is True else "finished"
        seconds = manifest["seconds"] if state == "finished" else None
        known = {"state": state, "seconds": seconds, "spent": view.spent}
        stages.append(StageView.model_validate({"name": view.name, **known}))
        for note in manifest["notes"]:
            notes.add(view.name, note["kind"], note["message"])
    if told is None:
        began = (folder / RECORD).stat().st_mtime
        return Snapshot(updated=began, stages=tuple(stages), notes=notes.all())
    elapsed = None if told.elapsed is None else told.elapsed + (since if going else 0.0)
    changed = {"stages": tuple(stages), "elapsed": elapsed, "left": told.left if going else None}
    return told.model_copy(update=changed)


def _unfinished(view: StageView, going: bool, since: float) -> StageView:
    """A stage without a manifest: it runs for `since` seconds more than it did, or stands still."""
    if view.state == "running" and going:
        return view.model_copy(update={"seconds": (view.seconds or 0.0) + since})
    return view if view.state == "failed" else StageView(name=view.name)


def _manifest(folder: Path, stage: Record) -> Record | None:
    """What a stage's manifest says; None where there is none of this run that can be read."""
    path = folder / "manifests" / manifest_name(stage["stage"])
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        seconds = float(manifest["seconds"])
        notes = [
            {"kind": str(note["kind"]), "message": str(note["message"])}
            for note in manifest["notes"]
        ]
        if manifest["key"] != stage["key"] or not 0 <= seconds <= LONGEST:
            return None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return {"seconds": seconds, "notes": notes}


def silence(snapshot: Snapshot, record: Record) -> str | None:
    """A sentence on a run that should go on and gives no sign of life; None for any other."""
    since = time.time() - snapshot.updated
    if record["state"] != "running" or since < SILENT:
        return None
    return (
        f"No sign of life for {duration(since)}: if it was killed, run the recipe again; "
        "it continues from what is finished."
    )


def follow(console: Console, folder: Path, poll: float = POLL, line: float = LINE) -> None:
    """Watch a run until it has ended, or gives no sign of life.

    A terminal shows the live tree; anything else gets a line for what begins and ends, and one for
    each running stage every `line` seconds.
    """
    states = _states(folder, poll)
    if not console.is_interactive:
        _follow_lines(states, console, line)
        return
    tree = LiveTree(console)
    first = next(states, None)
    if first is None:
        return
    tree.start(first)
    last = first
    try:
        for last in states:
            tree.draw(last)
    finally:
        tree.stop(last)


def _states(folder: Path, poll: float) -> Iterator[Snapshot]:
    while True:
        record = load_record(folder)
        snapshot = snapshot_of(folder, record)
        yield snapshot
        if record["state"] != "running" or silence(snapshot, record) is not None:
            return
        time.sleep(poll)


def _follow_lines(states: Iterator[Snapshot], console: Console, line: float) -> None:
    before: dict[str, StageView] = {}
    told: dict[str, float] = {}
    notes = 0
    for snapshot in states:
        now = time.monotonic()
        for stage in snapshot.stages:
            was = before.get(stage.name)
            if was is not None and is_done(stage) and not is_done(was):
                took = "" if stage.seconds is None else f" in {duration(stage.seconds)}"
                count = f"{snapshot.done}/{len(snapshot.stages)}"
                tell(console, f"{stage.name}: finished{took} ({count} stages)")
            elif stage.state == "running" and now - told.get(stage.name, -math.inf) >= line:
                told[stage.name] = now
                tell(console, progress_line(stage))
            before[stage.name] = stage
        for said in snapshot.notes[notes:]:
            tell(console, said_line(said))
        notes = max(notes, len(snapshot.notes))
