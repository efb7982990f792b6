"""A checkpoint of a finished run as a plain transformers folder, verified on the way."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignbench.errors import UserError, nearest, printable
from alignbench.results.card import card
from alignbench.store import Artifact, Corrupt, Store

CARD = "README.md"
BESIDE = ("decoder.json", "calibration.json")
"""Files of a checkpoint beside its weights that are part of what it is."""
DECODER = BESIDE[0]


@dataclass(frozen=True)
class Checkpoint:
    """One model of a run.

    Attributes:
        name: ``base``, ``sft``, ``reward/<split>`` or ``<row>/<seed>``.
        stage: the stage that made it.
        key: of the stage.
    """

    name: str
    stage: str
    key: str


def find(stages: Sequence[Mapping[str, str]], method: str, seed: int | None) -> Checkpoint:
    """The checkpoint that a user means.

    Args:
        stages: "stages" of run.json.
        method: a row, ``sft``, ``base`` or ``reward/<split>``.
        seed: of a row; None where it has only one.

    Raises:
        UserError: no such method or seed, or several seeds and none named.
    """
    keys = {stage["stage"]: stage["key"] for stage in stages}
    shared = [name for name in keys if name in ("base", "sft") or name.startswith("reward/")]
    seeds: dict[str, list[int]] = {}
    for name in keys:
        if name.startswith("train/"):
            _, row, number = name.split("/")
            seeds.setdefault(row, []).append(int(number))
    known = [*shared, *seeds]
    if method not in known:
        near = nearest(method, known)
        shown = printable(method)
        raise UserError(f'no model "{shown}" in this run{near}; it has: {", ".join(known)}')
    if method in shared:
        if seed is not None:
            raise UserError(f"{method} has no seeds; leave --seed out")
        return Checkpoint(method, method, keys[method])
    listed = ", ".join(map(str, sorted(seeds[method])))
    if seed is None and len(seeds[method]) > 1:
        raise UserError(f"{method} has several seeds; choose one with --seed: {listed}")
    chosen = seeds[method][0] if seed is None else seed
    if chosen not in seeds[method]:
        raise UserError(f"{method} has no seed {chosen}; it has: {listed}")
    stage = f"train/{method}/{chosen}"
    return Checkpoint(f"{method}/{chosen}", stage, keys[stage])


def export(
    checkpoint: Checkpoint, results: Mapping[str, Any], store: Store, target: Path
) -> list[str]:
    """Write the checkpoint's folder: all of it, verified, or nothing.

    Args:
        checkpoint: of `find`.
        results: results.json of the run.
        store: where the run's artifacts are.
        target: a new or empty folder.

    Returns:
        Names of the files written, sorted.

    Raises:
        UserError: `target` is in use, the artifact is gone or corrupt, or the weights are not
            those that the run certified.
    """
    _check_free(target, store)
    artifact = _artifact(checkpoint, store)
    text = card(results, checkpoint.name)
    temporary = target.absolute().with_name(f".{target.name}.{os.urandom(6).hex()}.tmp")
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(artifact.folder / "model", temporary)
        for name in BESIDE:
            if (artifact.folder / name).is_file():
                shutil.copyfile(artifact.folder / name, temporary / name)
        (temporary / CARD).write_text(text, encoding="utf-8")
        _verify(temporary, checkpoint, artifact, results["certificate"])
        os.rename(temporary, target)  # also over an empty folder
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sorted(path.name for path in target.iterdir())


def _check_free(target: Path, store: Store) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UserError(f"{target}: is there already and no folder; choose another path")
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f"{target}: is not empty; choose a new or empty folder")
    if target.resolve().is_relative_to(store.root.resolve()):
        raise UserError(f"{target}: is in the stage store; choose another path")


def _artifact(checkpoint: Checkpoint, store: Store) -> Artifact:
    try:
        found = store.read(checkpoint.stage.partition("/")[0], checkpoint.key)
    except Corrupt as error:
        raise UserError(f"{error}; run the recipe again to make it anew") from error
    if found is None:
        raise UserError(
            f"{checkpoint.stage} is not in the store {store.root}; set ALIGNBENCH_STORE to the "
            "store of the run, or run the recipe again"
        )
    if not (found.folder / "model").is_dir():
        raise UserError(f"{checkpoint.stage} left no model")
    return found


def _verify(
    folder: Path, checkpoint: Checkpoint, artifact: Artifact, certificate: Mapping[str, Any]
) -> None:
    """Load the folder as a user will, and compare the weights with what the run recorded."""
    from alignbench.models.load import load_policy, load_reward, weights_digest

    recorded = json.loads((artifact.folder / "metrics.json").read_text(encoding="utf-8"))
    kind, _, split = checkpoint.name.partition("/")
    certified = {
        "base": certificate.get("base_weights"),
        "sft": certificate.get("start_weights"),
        "reward": certificate.get("reward_models", {}).get(split),
    }.get(kind, certificate.get("trained_weights", {}).get(checkpoint.name))
    model, _ = (load_reward if kind == "reward" else load_policy)(folder)
    digest = weights_digest(model)
    expected = {digest, recorded["weights_digest"], certified or recorded["weights_digest"]}
    if expected != {digest}:
        raise UserError(
            f"{checkpoint.name}: the weights in the store are not those that the run certified; "
            "run the recipe again"
        )
