"""An entry from a finished run: the parts of its results that others can check and compare."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignbench.errors import UserError
from alignbench.leaderboard.entry import SCHEMA_VERSION
from alignbench.leaderboard.signals import SHARED, signals
from alignbench.leaderboard.texts import cleaned, places_in
from alignbench.results import load
from alignbench.results.metrics import METRIC
from alignbench.results.observations import Row, prompt_ids, read_rows
from alignbench.results.observations import Run as RowRun
from alignbench.results.reproduce import commands
from alignbench.run_folder import manifest_name, store_root
from alignbench.stats.bootstrap import Floats
from alignbench.store import Corrupt, Store

Record = dict[str, Any]
PROMPT_BY_PROMPT = (
    "reward_proxy",
    "reward_gold",
    "reward_gold_rm",
    "win_rate_vs_base",
    "win_rate_vs_sft",
)
"""Metrics that are published for every prompt: those that decide."""
PRIVATE = ("base_url",)
"""Settings that say where something is served, which nobody else can use."""
_CELL = ("model", "metric", "value", "low", "high", "n_seeds", "n_prompts")
_TARGET = ("model", "target", "metric", "against", "threshold", "value", "low", "high", "met")
_TEST = ("model", "metric", "other", "difference", "low", "high", "p", "p_holm", "detectable")
_JUDGE = ("name", "simulated", "gold_simulated", "deterministic")
_SIGNIFICANT = 6


def entry_of(
    results: Mapping[str, Any],
    record: Mapping[str, Any],
    manifests: Mapping[str, Mapping[str, Any]],
    found: Record | None,
    places: Sequence[str] = (),
) -> Record:
    """An entry without its digest, for `entry.save`. It holds no text of a model or of a prompt.

    Args:
        results: results.json of the run.
        record: its run.json.
        manifests: stage name -> manifest, of the stages whose machine is told.
        found: `observed`, or None where the store no longer has the run's scores.
        places: folders of this machine that must not be named.

    Raises:
        UserError: the run is none of a recipe, so it has nothing in common with others.
    """
    certificate = results["certificate"]
    if "start_weights" not in certificate:
        raise UserError("only runs of a recipe can be published: this one trained nothing")
    settings = _settings(results["recipe"])
    known = [*places, *places_in(results["recipe"])]
    bills = {"counted": results.get("bills"), "measured": results["costs"].get("bills")}
    told = {
        "verdict": results["verdict"],
        "flags": [_only({**flag, "kind": flag["level"]}, _TOLD) for flag in results["flags"]],
        "notes": [_only(note, _TOLD) for note in results["notes"]],
        "judge": {"gold_simulated": False, **_only(results["judge"], _JUDGE)},
        "environment": _environment(record, manifests),
        "commands": [
            *commands(results["recipe"], record.get("git_commit")),
            f"alignbench publish {results['recipe']['name']}",
        ],
        "certificate": certificate,
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "recipe": {
            "name": results["recipe"]["name"],
            "profile": results["profile"],
            "digest": record.get("recipe_digest"),
            "settings": cleaned(settings, known),
        },
        "models": results["models"],
        "rows": [_only(row, _CELL) for row in results["rows"]],
        "targets": [_only(target, (*_TARGET, "status")) for target in results["targets"]],
        "statistics": _statistics(results["statistics"]),
        **(found or {"observations": None}),
        **{name: _bills(bill) for name, bill in bills.items()},
        **cleaned(told, known),
    }


_TOLD = ("kind", "message", "stage")


def observed(
    stages: Iterable[Mapping[str, str]], rows: Sequence[tuple[str, int]], store: Store
) -> Record | None:
    """Fields of an entry that come from a run's artifacts; None where scores are gone.

    ``observations``: what the statistics rest on; ``training``: what the methods logged, of those
    whose trainings are still there.

    Args:
        stages: "stages" of run.json.
        rows: (row, seed) in the order of the table.
        store: of the run; whatever is read is verified.

    Raises:
        UserError: an artifact is corrupt.
    """
    runs = [f"{row}/{seed}" for row, seed in rows]
    wanted = {f"{kind}/{run}" for run in runs for kind in ("score", "judge", "generate")}
    trained = {*SHARED, *(f"train/{run}" for run in runs)}
    folders: dict[str, Path] = {}
    for stage in stages:
        name = stage["stage"]
        if name not in wanted | trained:
            continue
        try:
            found = store.read(name.partition("/")[0], stage["key"])
        except Corrupt as error:
            raise UserError(f"{error}; run the recipe again to make it anew") from error
        if found is not None:
            folders[name] = found.folder
    if wanted - folders.keys():
        return None
    row, seed = rows[0]
    score, judge = (folders[f"{kind}/{row}/{seed}"] for kind in ("score", "judge"))
    first = RowRun(row, seed, score, judge, Path())
    return {
        "observations": {
            "prompts": prompt_ids(first),
            "rows": {found.name: _seen(found) for found in read_rows(folders, rows, 1)},
        },
        "training": signals(folders, rows),
    }


def entry_of_run(folder: Path, record: Mapping[str, Any]) -> tuple[Record, Store]:
    """The entry of a finished and verified run (without its digest), and the store it is from.

    Args:
        folder: of the run.
        record: its run.json.

    Raises:
        UserError: see `entry_of` and `observed`; or a manifest that cannot be read.
    """
    results = load(folder / "results.json")
    manifests = _manifests(folder, record)
    rows = [(str(row), int(seed)) for row, seed in manifests["results"]["config"].get("rows", [])]
    store = Store(store_root(folder))
    found = observed(record["stages"], rows, store) if rows else None
    places = [str(Path.home()), str(folder.resolve()), str(store.root.resolve()), str(Path.cwd())]
    return entry_of(results, record, manifests, found, places), store


def _manifests(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Manifests of the stages of a verified run, by name, in its order."""
    found = {}
    for stage in record["stages"]:
        path = folder / "manifests" / manifest_name(stage["stage"])
        try:
            found[stage["stage"]] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error}); run the recipe again") from error
    if "results" not in found:
        raise UserError(f"{folder}: has no stage `results`; run the recipe again")
    return found


def _seen(row: Row) -> Record:
    cells = {name: values for name, values in row.cells.items() if name in METRIC}
    return {
        "seeds": list(row.seeds),
        "means": {
            **{name: [_mean(seed) for seed in values.tolist()] for name, values in cells.items()},
            **{
                name: [_number(value) for value in _perplexities(nll, tokens)]
                for name, (nll, tokens) in row.corpora.items()
            },
        },
        "prompts": {
            name: [[_number(value) for value in seed] for seed in cells[name].tolist()]
            for name in PROMPT_BY_PROMPT
            if name in cells
        },
    }


def _perplexities(nll: Floats, tokens: Floats) -> list[float]:
    """exp(sum nll / sum tokens) of each seed, from (seeds, documents); not finite where unknown."""
    with np.errstate(all="ignore"):
        found: list[float] = np.exp(nll.sum(axis=1) / tokens.sum(axis=1)).tolist()
    return found


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if math.isfinite(value)]
    return _number(math.fsum(known) / len(known)) if known else None


def _number(value: float) -> float | None:
    return float(f"{value:.{_SIGNIFICANT}g}") if math.isfinite(value) else None


def _only(record: Mapping[str, Any], names: Sequence[str]) -> Record:
    return {name: record[name] for name in names if name in record}


def _statistics(found: Mapping[str, Any]) -> Record:
    controlled = found.get("length_controlled", [])
    return {
        **_only(found, ("confidence", "resamples", "diversity_samples", "best")),
        **{
            name: [_only(test, (*_TEST, "verdict")) for test in found[name]]
            for name in ("against_sft", "between_methods")
        },
        "length_controlled": [
            _only(row, ("model", "value", "low", "high", "raw")) for row in controlled
        ],
    }


def _bills(bills: Mapping[str, Any] | None) -> Record:
    rows = bills["rows"] if bills else {}
    return {row: _only(bill, ("marginal", "end_to_end")) for row, bill in rows.items()}


def _settings(recipe: Mapping[str, Any]) -> Record:
    """The resolved recipe without what only this machine has."""

    def without(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: without(v) for k, v in value.items() if k not in PRIVATE}
        return [without(item) for item in value] if isinstance(value, list) else value

    plain: Record = json.loads(json.dumps(without(recipe)))
    return plain


def _environment(record: Mapping[str, Any], manifests: Mapping[str, Mapping[str, Any]]) -> Record:
    """Of the stage that trained first; of any stage where none trained here."""
    training = [m for name, m in manifests.items() if name.startswith("train/")]
    first = next(iter((*training, *manifests.values())), {})
    place: Mapping[str, Any] = first.get("environment", {})
    return {
        "alignbench": record.get("alignbench"),
        "git_commit": record.get("git_commit"),
        **{n: place.get(n) for n in ("python", "platform", "processor", "cpu_count")},
        "libraries": dict(place.get("versions", {})),
    }
