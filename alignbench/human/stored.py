"""What the stages of a finished run left in the store, verified."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from alignbench.digest import sha256_json
from alignbench.errors import UserError
from alignbench.keys import kind_of
from alignbench.store import Artifact, Corrupt, Store


def stored(
    record: Mapping[str, Any], store: Store, kinds: Collection[str] | None = None
) -> dict[str, Artifact]:
    """Stage name -> artifact of a run, every file of it hashed.

    Args:
        record: run.json.
        store: of the run.
        kinds: first part of the stages' names, such as ``generate``; None: all.

    Raises:
        UserError: naming every stage that is no longer there, or is corrupt.
    """
    found, problems = {}, []
    for stage in record["stages"]:
        kind = kind_of(stage["stage"])
        if kinds is not None and kind not in kinds:
            continue
        try:
            artifact = store.read(kind, stage["key"])
        except Corrupt as error:
            problems.append(str(error))
            continue
        if artifact is None:
            problems.append(f"{stage['stage']} is not in the store {store.root}")
        else:
            found[stage["stage"]] = artifact
    if problems:
        raise UserError(
            *problems,
            "set ALIGNBENCH_STORE to the store of the run, or run its recipe again",
        )
    return found


def folders(artifacts: Mapping[str, Artifact]) -> dict[str, Path]:
    """Stage name -> folder."""
    return {name: artifact.folder for name, artifact in artifacts.items()}


def answers_digest(record: Mapping[str, Any]) -> str:
    """Digest of all answers of a run: what a form is made of and its key belongs to."""
    return sha256_json(
        {
            stage["stage"]: stage.get("digest")
            for stage in record["stages"]
            if kind_of(stage["stage"]) == "generate"
        }
    )
