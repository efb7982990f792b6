"""Health findings over a run's training logs, and what tuning did, for results.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alignbench.health import (
    Diagnosis,
    RewardModelRecord,
    TrainingRecord,
    diagnose,
    diagnose_reward_model,
)
from alignbench.tuning.select import read_trials, summary
from alignbench.tuning.space import replaced

Record = dict[str, Any]


def health_record(
    inputs: Mapping[str, Path],
    recipe: Mapping[str, Any],
    options: Mapping[str, Mapping[str, Any]],
    curves: Mapping[str, Any],
) -> Record:
    """``health`` and ``health_unchecked`` of results.json.

    Args:
        inputs: stage name -> folder; those of ``train/...`` and ``reward/...`` are read.
        recipe: resolved.
        options: row -> options it was trained with.
        curves: ``budget_curves`` of results.json.
    """
    diagnoses: list[Diagnosis] = []
    for name, folder in sorted(inputs.items()):
        kind, _, rest = name.partition("/")
        if kind == "reward":
            record = RewardModelRecord.read(folder, rest, recipe["reward_model"])
            diagnoses.append(diagnose_reward_model(record))
        elif kind == "train":
            row = rest.rpartition("/")[0]
            points = curves["rows"].get(row, {}).get("points")
            proxy = _reward_model(inputs, folder)
            diagnoses.append(diagnose(TrainingRecord.read(folder, options[row], proxy, points)))
    findings = [asdict(finding) for diagnosis in diagnoses for finding in diagnosis.findings]
    unchecked = [asdict(entry) for diagnosis in diagnoses for entry in diagnosis.unchecked]
    # The rules on the curve see all seeds of a row at once: said once.
    return {"health": _once(findings), "health_unchecked": _once(unchecked)}


def _reward_model(inputs: Mapping[str, Path], trained: Path) -> Record | None:
    """metrics.json of the reward model that a training was given, as its manifest says."""
    manifest = trained / "manifest.json"
    given = json.loads(manifest.read_text()).get("inputs", {}) if manifest.exists() else {}
    if "reward" not in given:
        return None
    record: Record = json.loads((inputs["reward/proxy"] / "metrics.json").read_text())
    return record


def _once(entries: Sequence[Record]) -> list[Record]:
    """Entries that differ in more than the seed; one for several seeds has the seed None."""
    kept: dict[str, Record] = {}
    for entry in entries:
        text = repr({name: value for name, value in entry.items() if name != "seed"})
        kept[text] = {**entry, "seed": None} if text in kept else entry
    return list(kept.values())


def tuning_record(inputs: Mapping[str, Path]) -> Record:
    """``tuning`` of results.json: row -> its trials, the curves of the best and the cost."""
    rows: dict[str, dict[int, Path]] = {}
    for name, folder in inputs.items():
        if name.startswith("trial/"):
            _, row, number = name.split("/")
            rows.setdefault(row, {})[int(number)] = folder
    return {
        row: summary(read_trials([folders[k] for k in sorted(folders)]))
        for row, folders in rows.items()
    }


def trained_options(
    recipe: Mapping[str, Any], trained: Mapping[str, Mapping[str, Any]], inputs: Mapping[str, Path]
) -> dict[str, Record]:
    """Row -> the options it was trained with: the recipe's, and the best trial's over them."""
    found: dict[str, Record] = {}
    for run, metrics in trained.items():
        row = run.rpartition("/")[0]
        manifest = inputs[f"train/{run}"] / "manifest.json"
        config = json.loads(manifest.read_text()).get("config", {}) if manifest.exists() else {}
        options = config.get("options") or recipe["methods"].get(row, {})
        tuned = metrics.get("tuned")
        found[row] = replaced(options, tuned["params"]) if tuned else dict(options)
    return found
