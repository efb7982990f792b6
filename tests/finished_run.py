"""A finished run in a folder and a store, made of `tests.fake_run` without training anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from alignbench import run_folder
from alignbench.plan import PlannedStage
from alignbench.run_folder import About
from alignbench.stage import Stage, StageContext
from alignbench.stages import cards, results
from alignbench.store import Artifact, Store
from tests.fake_run import FakeRun

EFFECTS = {"base": -1.5, "sft": 0.0, "sft_copy": 0.0, "ppo": 1.5, "dpo": 1.2}
ENTRY = "alignbench.stages.report:run"  # of every stage: nothing runs it
Record = dict[str, Any]


@dataclass
class Finished:
    """A run's folder and what it was made of."""

    folder: Path
    store: Store
    artifacts: dict[str, Artifact]
    planned: list[PlannedStage]


def commit(
    store: Store,
    name: str,
    fill: Callable[[Path], Any],
    config: Record,
    number: int,
    notes: Sequence[Record] = (),
) -> tuple[Artifact, PlannedStage]:
    stage, key = Stage(name, ENTRY, config), f"{number:064x}"
    # The first 16 digits name the folder.
    key = key[-16:] + key[:-16]
    store.root.mkdir(parents=True, exist_ok=True)
    temporary = store.temporary(name.partition("/")[0], key)
    fill(temporary)
    artifact = store.commit(temporary, stage, key, {}, notes, 1.5, 2**20)
    return artifact, PlannedStage(stage, key, False, None)


def copied(source: Path) -> Callable[[Path], None]:
    def fill(target: Path) -> None:
        shutil.copytree(source, target, dirs_exist_ok=True)
        (target / "manifest.json").unlink(missing_ok=True)

    return fill


def finished_run(
    root: Path,
    change: Callable[[FakeRun], Any] = lambda fake: None,
    recipe: Record | None = None,
    seeds: int = 2,
) -> Finished:
    """A run named ``fake`` in ``root/runs/fake``.

    Args:
        root: an empty folder.
        change: edits the stages' folders before they are stored.
        recipe: settings of the recipe to change.
        seeds: of each method.
    """
    fake = FakeRun(root / "stages", EFFECTS, seeds=seeds, prompts=12)
    change(fake)
    out, store = root / "runs" / "fake", Store(root / "runs" / "store")
    made: dict[str, Artifact] = {}
    planned: list[PlannedStage] = []
    for name, folder in fake.inputs.items():
        notes = read(folder / "manifest.json")["notes"]
        if name == "sft":
            notes = [{"kind": "warning", "message": "sft: looked at"}]
        made[name], item = commit(store, name, copied(folder), {}, len(planned) + 1, notes)
        planned.append(item)
    config = fake.config(resamples=200)
    config["recipe"] = {**config["recipe"], **(recipe or {})}
    inputs = {name: artifact.folder for name, artifact in made.items()}

    def measure(folder: Path) -> None:
        ctx = StageContext(folder, config, inputs, lambda *_, **__: None, lambda *_: None)
        # The forecast wants a whole recipe; without a model's shape there is none.
        with patch("alignbench.stages.results.read_config", return_value=None):
            results.run(ctx)

    made["results"], item = commit(store, "results", measure, config, len(planned) + 1)
    planned.append(item)

    def write_cards(folder: Path) -> None:
        given = {"results": made["results"].folder}
        cards.run(StageContext(folder, {}, given, lambda *_, **__: None, lambda *_: None))

    made["cards"], item = commit(store, "cards", write_cards, {}, len(planned) + 1)
    planned.append(item)
    (out / "manifests").mkdir(parents=True)
    (out / "logs").mkdir()
    for name, artifact in made.items():
        manifest = out / "manifests" / run_folder.manifest_name(name)
        shutil.copyfile(artifact.folder / "manifest.json", manifest)
    run_folder.publish(out, made)
    about = About("fake", "ab" * 32, "cpu", "no CUDA device")
    run_folder.write_record(out, about, planned, "finished", made)
    return Finished(out, store, made, planned)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
