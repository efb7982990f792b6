"""Entries of made-up runs that differ in what a test says, and in nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from alignbench.digest import sha256_json
from alignbench.leaderboard.entry import file_name, save, validated
from alignbench.leaderboard.make import entry_of_run
from alignbench.leaderboard.schema import Entry
from alignbench.run_record import load_record
from tests import fake_run, finished_run

Record = dict[str, Any]
EFFECTS = {"base": -1.0, "sft": 0.0, "sft_copy": 0.0, "ppo": 0.8, "dpo": 0.6}


def run(
    root: Path,
    number: int = 0,
    effects: Mapping[str, float] = EFFECTS,
    prompts: int = 30,
    recipe: Record | None = None,
) -> Path:
    """Folder of a finished run whose trainings are not those of another `number`."""

    def other(folder: Path, _: Any, **settings: Any) -> fake_run.FakeRun:
        settings |= {"prompts": prompts, "seed": number}
        return fake_run.FakeRun(folder, dict(effects), **settings)

    def trained(fake: fake_run.FakeRun) -> None:
        for name, folder in fake.inputs.items():
            if name.startswith("train/"):
                path = folder / "metrics.json"
                metrics = json.loads(path.read_text())
                metrics["weights_digest"] += f"-{number}"
                path.write_text(json.dumps(metrics))

    root.mkdir(parents=True, exist_ok=True)
    with patch.object(finished_run, "FakeRun", other):
        return finished_run.finished_run(root, trained, recipe, seeds=3).folder


def made(folder: Path) -> Record:
    """The entry of a run, without its digest."""
    return entry_of_run(folder, load_record(folder))[0]


def published(root: Path, number: int = 0, **settings: Any) -> Path:
    """The file of a run's entry, in ``root/to``."""
    return save(made(run(root / str(number), number, **settings)), root / "to")


def changed(path: Path, change: Callable[[Record], Any]) -> Entry:
    """The entry in a file after a change that keeps it whole."""
    record = json.loads(path.read_text())
    change(record)
    del record["digest"]
    return validated({**record, "digest": sha256_json(record)}, path.name)


def forged(path: Path, folder: Path, change: Callable[[Record], Any]) -> Path:
    """A changed entry with a right digest and name, whole or not."""
    record = json.loads(path.read_text())
    change(record)
    del record["digest"]
    record["digest"] = sha256_json(record)
    target = folder / file_name(record)
    target.write_text(json.dumps(record))
    return target
