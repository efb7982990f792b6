"""The two sides of a check: a finished run as an entry, and the baseline that fits it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignbench.compare import compare
from alignbench.digest import sha256_json
from alignbench.errors import StageFailed, UserError, printable
from alignbench.leaderboard import entry as entries
from alignbench.leaderboard.make import entry_of_run
from alignbench.leaderboard.schema import Entry
from alignbench.results.schema import rounded_floats


@dataclass(frozen=True)
class Run:
    """A finished run: its entry, and the record that `entries.save` writes."""

    folder: Path
    entry: Entry
    record: Mapping[str, Any]


def load_run(name: str, warn: Callable[[str], None] = lambda _: None) -> Run:
    """The entry of a finished run, as `alignbench publish` would write it.

    Args:
        name: a run folder, or its name below ``runs/``.
        warn: is told what the run's folder holds that the run did not write.

    Raises:
        StageFailed: a stage of the run failed.
        UserError: no such run; unfinished or changed since; its scores are gone from the store.
    """
    from alignbench import run_folder, run_record

    folder = run_folder.find_run(name)
    record = run_record.load_record(folder)
    if record["state"] == "failed":
        why = (record.get("message") or "a stage failed").splitlines()
        raise StageFailed(f"{folder}: the run failed:", *(f"  {printable(line)}" for line in why))
    if record["state"] != "finished":
        raise UserError(
            f"{folder}: the run is {record['state']}; run its recipe again to finish it"
        )
    for warning in run_record.verify(folder, record):
        warn(warning)
    made, store = entry_of_run(folder, record)
    if made["observations"] is None:
        raise UserError(
            f"{folder}: {store.root} no longer has the run's scores; set ALIGNBENCH_STORE to the "
            "store of the run, or run the recipe again"
        )
    plain = rounded_floats(made)
    sealed = json.loads(json.dumps({**plain, "digest": sha256_json(plain)}))
    return Run(folder, Entry.model_validate(sealed), made)


def find_baseline(path: Path, run: Entry) -> Path:
    """The baseline's file: the one named, or the run's recipe and profile in a folder.

    Raises:
        UserError: the folder has none, or several.
    """
    if not path.is_dir():
        return path
    recipe, profile = run.recipe.name, run.recipe.profile
    found = sorted(
        each for each in path.glob(f"{recipe}-{profile}-*.json") if _is_of(each.name, run)
    )
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(each.name for each in found)
        raise UserError(f"{path}: has several entries of {recipe}, {profile}: name one of {names}")
    there = ", ".join(sorted(each.name for each in path.glob("*.json"))[:10]) or "none"
    raise UserError(
        f"{path}: has no entry of recipe {recipe}, profile {profile}; entries there: {there}. "
        f"Publish one: alignbench publish RUN --to {path}"
    )


def _is_of(name: str, run: Entry) -> bool:
    """Whether a file name is that of an entry of the run's recipe, and of no longer name."""
    start = f"{run.recipe.name}-{run.recipe.profile}-"
    digits = name.removeprefix(start).removesuffix(".json")
    return len(digits) == entries.DIGITS and set(digits) <= set("0123456789abcdef")


def replace_baseline(old: Path, run: Run) -> Path:
    """Write the run's entry where the baseline is; its name follows its certificate.

    Raises:
        UserError: the entry would not be valid, or cannot be written.
    """
    written = entries.save(run.record, old.parent)
    if written.name != old.name:
        try:
            old.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{old}: cannot be removed: {error.strerror}") from error
    return written


def changes(baseline: Entry, run: Entry) -> list[str]:
    """What an update would change: terms of the certificate, then values of the table."""
    lines = [
        f"certificate.{line.field}: {line.status}"
        for line in compare(baseline.certificate, run.certificate).lines
        if line.status != "agrees"
    ]
    old, new = ({(c.model, c.metric): c.value for c in e.rows} for e in (baseline, run))
    for cell in dict.fromkeys((*old, *new)):
        before, after = old.get(cell), new.get(cell)
        if before != after:
            lines.append(f"{cell[0]}, {cell[1]}: {_shown(before)} -> {_shown(after)}")
    seeds = [
        sorted({s for t in (e.training or {}).values() for s in t.seeds}) for e in (baseline, run)
    ]
    if seeds[0] != seeds[1]:
        lines.append(f"seeds: {seeds[0]} -> {seeds[1]}")
    return lines


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.6g}"
