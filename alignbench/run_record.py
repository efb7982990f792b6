"""``run.json``: what a run is, how far it has come, and the digest of every file it wrote.

``run.json`` of a finished run holds the digest of every other file of the run's folder and a seal
over itself, so that whoever reads the folder next finds what was changed since (`verify`), and a
run of the same recipe puts it right from the store (`run_folder.prepare`). Unfinished runs are
not checked.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from alignbench.digest import FileDigest, sha256_json
from alignbench.errors import UserError, printable
from alignbench.files import write_atomic
from alignbench.tamper import Change, changes, digests, is_inside, kind_of

SCHEMA = 2
RECORD = "run.json"
FOLDERS = ("manifests", "logs", "cards")
BESIDE = ("tensorboard", "trackers.json", "progress.json", "human")
"""What trackers keep in the folder: nothing reads it, and it is no part of the run."""
REMEDY = "run the recipe again: it restores the files from the store"


def load_record(out: Path) -> dict[str, Any]:
    """``run.json`` of a run.

    Raises:
        UserError: it is damaged, changed since it was written, or of another alignbench.
    """
    record, problem = parse(out)
    if record is not None and is_newer(record):
        raise UserError(f"{out / RECORD}: {problem}; use that version")
    if record is None or problem is not None:
        raise UserError(f"{out / RECORD}: {problem}; {REMEDY}")
    return record


def verify(out: Path, record: Mapping[str, Any], ignore: Collection[str] = ()) -> list[str]:
    """Check every file of a finished run against its record; an unfinished one is not checked.

    Args:
        out: the run's folder.
        record: its `load_record`.
        ignore: files that are about to be written anew.

    Returns:
        A sentence for each file that the run did not write. Nothing reads those.

    Raises:
        UserError: naming every file that was changed, removed or replaced.
    """
    if record["state"] != "finished":
        return []
    found = all_changes(out, record, ignore)
    wrong = [change for change in found if not change.extra]
    if wrong:
        raise UserError(
            f"{out}: changed since the run finished:",
            *(f"  {printable(str(change))}" for change in wrong),
            f"  {REMEDY}",
        )
    return [f"{out}: {printable(str(change))}" for change in found]


def all_changes(out: Path, record: Mapping[str, Any], ignore: Collection[str] = ()) -> list[Change]:
    """What in a finished run's folder is not as its (sealed) record says."""
    files: Mapping[str, FileDigest] = record["files"]
    return changes(out, files, FOLDERS, {RECORD, *BESIDE, *ignore})


def parse(out: Path) -> tuple[dict[str, Any] | None, str | None]:
    """``run.json`` if it can be made out, and what is wrong with it, if anything."""
    path = out / RECORD
    kind = kind_of(path)
    if kind not in ("a file", "missing"):
        return None, f"is {kind} in place of a file"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        version = record["schema_version"]
        if isinstance(version, bool) or not isinstance(version, int):
            raise ValueError("no schema_version")
        seal = _seal(record)
    except FileNotFoundError:
        return None, "missing"
    except OSError as error:
        return None, f"cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return None, f"damaged ({error})"
    if version != SCHEMA:
        return record, f"written by another version of alignbench (schema {version})"
    if record.get("seal") != seal:
        return record, "changed since alignbench wrote it"
    if not _well_formed(record):
        return record, "damaged (not the fields of a run)"
    return record, None


def is_newer(record: Mapping[str, Any]) -> bool:
    """Whether a newer alignbench wrote a record that `parse` could make out."""
    return int(record["schema_version"]) > SCHEMA


def _well_formed(record: Mapping[str, Any]) -> bool:
    """Whether a sealed record has what its readers rely on (a seal is easily made)."""
    texts = all(isinstance(record.get(name), str) for name in ("state", "recipe", "profile"))
    stages, files = record.get("stages"), record.get("files")
    return (
        texts
        and isinstance(stages, list)
        and all(
            isinstance(stage, dict)
            and isinstance(stage.get("stage"), str)
            and isinstance(stage.get("key"), str)
            for stage in stages
        )
        and isinstance(files, dict)
        and all(
            is_inside(name, FOLDERS)
            and isinstance(entry, dict)
            and isinstance(entry.get("sha256"), str)
            and isinstance(entry.get("bytes"), int)
            for name, entry in files.items()
        )
    )


def record_file(out: Path, name: str) -> None:
    """Take a file of a finished run that was written anew, as it is now, into ``run.json``."""
    record = load_record(out)
    files = {file: digest for file, digest in record["files"].items() if file != name}
    save(out, {**record, "files": {**files, **digests(out, [name])}})


def save(out: Path, record: Mapping[str, Any]) -> None:
    """Write ``run.json`` with its seal."""
    sealed = {**record, "seal": _seal(record)}
    write_atomic(out / RECORD, json.dumps(sealed, indent=1) + "\n")


def _seal(record: Mapping[str, Any]) -> str:
    return sha256_json({name: value for name, value in record.items() if name != "seal"})
