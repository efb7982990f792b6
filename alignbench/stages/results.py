"""Stage `results`: all measurements of a run become results.json and results.csv.

Reads `data`, `sft`, `reward/<split>` and, for each row and seed, `train/...` (methods only),
`generate/...`, `score/...` and `judge/...`. Everything written is equal in equal runs but "costs".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from alignbench.forecast import forecast
from alignbench.judges.base import NAMES, SIMULATED
from alignbench.metering.forecast import read_config
from alignbench.recipe.schema import Recipe
from alignbench.results.bills import bills_record
from alignbench.results.budget_curves import curves_record
from alignbench.results.certificate import certificate, save_certificate
from alignbench.results.conclusions import (
    against_sft,
    between_methods,
    separable_best,
    target_rows,
)
from alignbench.results.curves import training_curves
from alignbench.results.diagnosis import health_record, trained_options, tuning_record
from alignbench.results.estimates import Estimates
from alignbench.results.findings import flags, verdict
from alignbench.results.observations import Row, Run, prompt_ids, read_row
from alignbench.results.schema import SCHEMA_VERSION, save
from alignbench.stage import StageContext

Record = dict[str, Any]
BEFORE_METHODS = ("base", "sft", "sft_copy")
#: Seed of all resampling: fixed, so that intervals do not change with anything but the data.
RESAMPLING_SEED = 20_240


def run(ctx: StageContext) -> None:
    """Write results.json, results.csv and certificate.json.

    Config: ``recipe`` (resolved), ``rows`` ([[row, seed], ...] in the order of the table),
    ``notes`` (lines about this run, such as why this profile), ``needs`` (row -> stages on its
    end-to-end bill).
    """
    recipe = ctx.config["recipe"]
    rows = _read_rows(ctx, int(recipe["evaluation"]["diversity_samples"]))
    trained = {
        name.removeprefix("train/"): _read(folder / "metrics.json")
        for name, folder in sorted(ctx.inputs.items())
        if name.startswith("train/")
    }
    reward_models = {
        name.removeprefix("reward/"): _read(folder / "metrics.json")
        for name, folder in sorted(ctx.inputs.items())
        if name.startswith("reward/")
    }
    judge = NAMES[recipe["judge"]["kind"]]
    certified = certificate(recipe, ctx.inputs, trained, reward_models, judge)
    counted, measured = bills_record(ctx.inputs, _runs(ctx), ctx.config.get("needs", {}))
    trainings = _trainings(ctx, recipe, trained)
    results: Record = {
        "schema_version": SCHEMA_VERSION,
        "recipe": recipe,
        "profile": recipe["profile"],
        "models": [row.name for row in rows],
        "judge": {"name": judge, "simulated": recipe["judge"]["kind"] == SIMULATED},
        **_statistics(recipe, rows, reward_models, judge, trainings),
        **trainings,
        "bills": counted,
        "plan": _plan(recipe, ctx.inputs["base"] / "model", trained),
        "reward_models": reward_models,
        "training": {
            name: {"metrics": metrics, "curves": training_curves(ctx.inputs[f"train/{name}"])}
            for name, metrics in trained.items()
        },
        "certificate": certified,
        "notes": _notes(ctx),
        "costs": {**_costs(ctx.inputs), "bills": measured},
    }
    save(results, ctx.out)
    save_certificate(certified, ctx.inputs["data"], ctx.out)


def _runs(ctx: StageContext) -> list[tuple[str, int]]:
    return [(row, seed) for row, seed in ctx.config["rows"]]


def _trainings(
    ctx: StageContext, recipe: Mapping[str, Any], trained: Mapping[str, Record]
) -> Record:
    """Budget curves, health findings and tuning."""
    evaluation = recipe["evaluation"]
    resamples, confidence = int(evaluation["resamples"]), float(evaluation["confidence"])
    curves = curves_record(ctx.inputs, _runs(ctx), resamples, confidence, RESAMPLING_SEED)
    options = trained_options(recipe, trained, ctx.inputs)
    return {
        "budget_curves": curves,
        **health_record(ctx.inputs, recipe, options, curves),
        "tuning": tuning_record(ctx.inputs),
    }


def _plan(recipe: Mapping[str, Any], model: Path, trained: Mapping[str, Record]) -> Record:
    """Stage -> what was predicted; that of a row stands for each of its seeds.

    By the model's own shape, which `alignbench plan` may not have known before it was there.
    """
    shape = read_config(model)
    predicted = forecast(Recipe.model_validate(recipe), shape) if shape is not None else {}
    found = {name: value for name, value in predicted.items() if not name.startswith("train/")}
    for run in trained:
        if (value := predicted.get(f"train/{run.rpartition('/')[0]}")) is not None:
            found[f"train/{run}"] = value
    return {
        name: {"predicted": dict(value.spend), "ends": value.ends} for name, value in found.items()
    }


def _read_rows(ctx: StageContext, diversity_samples: int) -> list[Row]:
    runs = [
        Run(
            row,
            seed,
            ctx.inputs[f"score/{row}/{seed}"],
            ctx.inputs[f"judge/{row}/{seed}"],
            ctx.inputs[f"generate/{row}/{seed}"],
        )
        for row, seed in ctx.config["rows"]
    ]
    prompts = prompt_ids(runs[0])
    rows = []
    for _, seeds in groupby(runs, key=lambda run: run.row):
        rows.append(read_row(list(seeds), prompts, diversity_samples))
        ctx.progress(len(rows), len({run.row for run in runs}))
    return rows


def _statistics(
    recipe: Mapping[str, Any],
    rows: Sequence[Row],
    reward_models: Mapping[str, Mapping[str, Any]],
    judge: str,
    trainings: Mapping[str, Any],
) -> Record:
    """Everything in results.json that is estimated or concluded from estimates."""
    evaluation = recipe["evaluation"]
    methods = [row.name for row in rows if row.name not in BEFORE_METHODS]
    estimates = Estimates(
        rows, int(evaluation["resamples"]), float(evaluation["confidence"]), RESAMPLING_SEED
    )
    tests = against_sft(estimates)
    pairs = between_methods(estimates, methods)
    minimum = float(recipe["reward_model"]["minimum_accuracy"])
    return {
        "rows": estimates.tidy(),
        "targets": target_rows(estimates, methods),
        "flags": flags(estimates, tests, methods, reward_models, minimum, trainings),
        "verdict": verdict(tests, pairs, methods, estimates, judge),
        "statistics": {
            "confidence": evaluation["confidence"],
            "resamples": evaluation["resamples"],
            "diversity_samples": min(len(texts) for row in rows for texts in row.texts),
            "against_sft": tests,
            "between_methods": pairs,
            "best": separable_best(estimates),
            "judge_inconsistency": _inconsistency(rows),
            "raw_rewards": {
                row.name: {
                    metric: estimates[row.name, metric].interval.value
                    for metric in ("reward_proxy_raw", "reward_gold_rm_raw")
                }
                for row in rows
            },
        },
    }


def _inconsistency(rows: Sequence[Row]) -> Record:
    """Pairs judged, and the share whose two orders contradict each other (in percent)."""
    pairs = sum(row.verdict_pairs for row in rows)
    share = 100 * sum(row.inconsistent for row in rows) / pairs if pairs else None
    return {"pairs": pairs, "inconsistent_percent": share}


def _notes(ctx: StageContext) -> list[Record]:
    """The run's own notes, then what stages noted (warnings, substitutions), each once."""
    notes = [{"kind": "note", "message": str(text), "stage": None} for text in ctx.config["notes"]]
    for name in sorted(ctx.inputs):
        for note in _manifest(ctx.inputs[name]).get("notes", []):
            record = {"kind": note["kind"], "message": note["message"], "stage": name}
            seen = ((other["kind"], other["message"]) for other in notes)
            if (record["kind"], record["message"]) not in seen:
                notes.append(record)
    return notes


def _costs(inputs: Mapping[str, Path]) -> Record:
    """Per stage: wall seconds and peak memory, device-seconds and counts where it was metered."""
    costs = {}
    for name, folder in inputs.items():
        manifest = _manifest(folder)
        figures = folder / ("trial.json" if name.startswith("trial/") else "metrics.json")
        costs[name] = {
            "seconds": manifest.get("seconds"),
            "peak_rss_bytes": manifest.get("peak_rss_bytes"),
            "device_seconds": _read_if_there(folder / "cost.json").get("device_seconds"),
            "consumed": _read_if_there(figures).get("consumed"),
        }
    return costs


def _manifest(folder: Path) -> Record:
    """What the store recorded of an input; nothing for a folder that is not from a store."""
    return _read_if_there(folder / "manifest.json")


def _read_if_there(path: Path) -> Record:
    return _read(path) if path.exists() else {}


def _read(path: Path) -> Record:
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    return record
