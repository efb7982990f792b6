"""The results of a finished run made again, with people's labels: nothing is trained or sampled.

`results`, `cards` and `report` are made from what the run's other stages left in the store, as
stages of their own with keys of their own, so the store still says what came of what. They become
the run's files, and run.json names the new stages and digests.

People add to what is known of a run and change nothing that was measured: where the certificate, a
value of the table or what is concluded from them would come out otherwise than before (another
version of alignbench computes it), nothing is written.
"""

from __future__ import annotations

import importlib
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alignbench import run_folder, run_record
from alignbench.digest import sha256_file
from alignbench.errors import UserError
from alignbench.human.stored import folders, stored
from alignbench.keys import kind_of, stage_key
from alignbench.stage import Stage, StageContext
from alignbench.store import Artifact, Corrupt, Store, is_stale
from alignbench.tamper import digests

Record = dict[str, Any]
HUMAN = "human"
MADE = ("results", "cards", "report")
#: All of it: results by other code are other results.
CODE = ("alignbench",)
#: Parts of results.json that people's labels do not change, in words.
KEPT = {
    "certificate": "the certificate",
    "rows": "the table",
    "targets": "the targets",
    "verdict": "the verdict",
    "statistics": "the statistics",
}
Note = Callable[[str, str], None]


def add_labels(
    folder: Path, record: Mapping[str, Any], store: Store, path: Path, draft: Path, note: Note
) -> None:
    """Make the results of a run again with the labels of a file, and take them into the run.

    The labels are read from `draft`, which becomes `path` when everything has come out well.

    Args:
        folder: of the run, verified.
        record: its run.json.
        store: of the run.
        path: where the labels are to be; the stage ``human`` has it in its config, and so in its
            key.
        draft: labels, see `stages.human`.
        note: hears what the stages note, as (kind, message).

    Raises:
        UserError: a stage is no longer in the store, the run has labels by its recipe, or this
            alignbench computes other numbers than the run has.
    """
    had = stored(record, store)
    _check_recipe(had, path)
    made = {name: artifact for name, artifact in had.items() if name not in (*MADE, HUMAN)}
    config = {"path": str(path), "content": sha256_file(draft)}
    stage = Stage(HUMAN, "alignbench.stages.human:run", config, code=CODE)
    made[HUMAN] = _make(stage, {}, store, note, {"path": str(draft)})
    for name in MADE:
        if name not in had:
            continue
        manifest = had[name].manifest
        # Results are made of all stages, cards and report of results (and of answers).
        given = {"results": made["results"]} if name == "cards" else dict(made)
        roles = {role: role for role in given}
        stage = Stage(name, manifest["entry"], manifest["config"], roles, CODE)
        made[name] = _make(stage, given, store, note)
        if name == "results":
            _check_unchanged(had[name].folder, made[name].folder)
    try:
        draft.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    _take_in(folder, record, made)


def _check_recipe(had: Mapping[str, Artifact], path: Path) -> None:
    """Labels that the recipe names are not replaced behind its back."""
    named = had[HUMAN].manifest["config"]["path"] if HUMAN in had else None
    if named is not None and Path(named).absolute() != path.absolute():
        raise UserError(
            f"the run has people's labels already: human_labels of its recipe names {named}; "
            "run the recipe without human_labels, then import"
        )


def _make(
    stage: Stage,
    inputs: Mapping[str, Artifact],
    store: Store,
    note: Note,
    instead: Mapping[str, Any] | None = None,
) -> Artifact:
    """The stage's artifact, out of the store if it is there and sound.

    Args:
        stage: what it is, and what is recorded of it.
        inputs: role -> artifact.
        store: of the run.
        note: hears what the stage notes.
        instead: of settings that say where things are, where they are now.
    """
    kind, key = kind_of(stage.name), stage_key(stage, {r: a.key for r, a in inputs.items()})
    with store.lock(key) as mine:
        if not mine:
            raise UserError(f"{stage.name} is being made by another process; try again")
        try:
            found = store.read(kind, key)
        except Corrupt:
            store.set_aside(kind, key)
            found = None
        if found is not None and is_stale(found, inputs):
            store.discard(kind, key)
            found = None
        return found if found is not None else _run(stage, key, inputs, store, note, instead or {})


def _run(
    stage: Stage,
    key: str,
    inputs: Mapping[str, Artifact],
    store: Store,
    note: Note,
    instead: Mapping[str, Any],
) -> Artifact:
    notes: list[Mapping[str, str]] = []

    def hear(what: str, message: str) -> None:
        notes.append({"kind": what, "message": message})
        note(what, message)

    temporary = store.temporary(kind_of(stage.name), key)
    started = time.monotonic()
    try:
        module, _, function = stage.entry.partition(":")
        run = getattr(importlib.import_module(module), function)
        config = {**stage.config, **instead}
        run(StageContext(temporary, config, folders(inputs), lambda *_, **__: None, hear))
        seconds = time.monotonic() - started
        return store.commit(temporary, stage, key, inputs, notes, seconds, None)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _check_unchanged(before: Path, after: Path) -> None:
    """What people's labels do not change must be what it was."""
    old, new = (
        json.loads((place / "results.json").read_text("utf-8")) for place in (before, after)
    )
    other = [words for name, words in KEPT.items() if not _same(old.get(name), new.get(name))]
    if other:
        raise UserError(
            f"this alignbench computes {', '.join(other)} otherwise than the one that made the "
            "run; run the recipe again with it, then import"
        )


def _same(old: Any, new: Any) -> bool:
    """Equal JSON, floats but for the last of the digits that results.json has."""
    if isinstance(old, float) and isinstance(new, float):
        return math.isclose(old, new, rel_tol=1e-8, abs_tol=1e-9)
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_same(old[name], new[name]) for name in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_same, old, new))
    return bool(old == new)


def _take_in(folder: Path, record: Mapping[str, Any], made: Mapping[str, Artifact]) -> None:
    """Copy what was made into the run's folder, and record it."""
    new = [name for name in (HUMAN, *MADE) if name in made]
    kept = [stage for stage in record["stages"] if stage["stage"] not in new]
    entries = [
        {"stage": name, "key": made[name].key, "cached": False, "digest": made[name].digest}
        for name in new
    ]
    names = [f"manifests/{run_folder.manifest_name(name)}" for name in new]
    try:
        run_folder.publish(folder, {name: made[name] for name in new})
        for name, copy in zip(new, names, strict=True):
            shutil.copyfile(made[name].folder / "manifest.json", folder / copy)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror}") from error
    names += [name for name in record["files"] if "/" not in name or name.startswith("cards/")]
    names += [f"cards/{path.name}" for path in sorted((folder / "cards").glob("*.md"))]
    files = {**record["files"], **digests(folder, list(dict.fromkeys(names)))}
    run_record.save(folder, {**record, "stages": [*kept, *entries], "files": files})
