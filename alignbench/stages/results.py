"""Stage `results`: all measurements of a run become results.json and results.csv.

Reads `data`, `sft`, `reward/<split>` and, for each row and seed, `train/...` (methods only),
`generate/...`, `score/...` and `judge/...`; `matches` where the judge compared methods. Everything
written is equal in equal runs but "costs".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignbench.forecast import forecast
from alignbench.judges.base import SENTINELS
from alignbench.metering.forecast import read_config
from alignbench.recipe.schema import Recipe
from alignbench.results.bills import bills_record
from alignbench.results.budget_curves import curves_record
from alignbench.results.certificate import certificate, save_certificate
from alignbench.results.choices import candidates, choices_record, memory_choice
from alignbench.results.conclusions import (
    against_reference,
    between_methods,
    separable_best,
    target_rows,
)
from alignbench.results.curves import training_curves
from alignbench.results.diagnosis import health_record, trained_options, tuning_record
from alignbench.results.estimates import Estimates
from alignbench.results.findings import flags, verdict
from alignbench.results.gathered import costs, notes
from alignbench.results.human import human_record, read_human
from alignbench.results.observations import Row, read_rows
from alignbench.results.pairwise import add_matches, pairwise_record
from alignbench.results.schema import RESAMPLING_SEED, SCHEMA_VERSION, save
from alignbench.results.stability import effect_record, stability_record
from alignbench.results.trust import (
    answers,
    audit_record,
    judge_record,
    length_controlled,
    rating_ranks,
)
from alignbench.stage import StageContext

Record = dict[str, Any]
BEFORE_METHODS = ("base", "sft", *SENTINELS)
#: Opponent in the verdicts -> its row.
OPPONENTS = {"base": "base", "sft": "sft"}


def run(ctx: StageContext) -> None:
    """Write results.json, results.csv and certificate.json.

    Config: ``recipe`` (resolved), ``rows`` ([[row, seed], ...] in the order of the table),
    ``notes`` (lines about this run, such as why this profile), ``needs`` (row -> stages on its
    end-to-end bill).
    """
    recipe = ctx.config["recipe"]
    rows = read_rows(ctx.inputs, _runs(ctx), int(recipe["evaluation"]["diversity_samples"]))
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
    judge = judge_record(ctx.inputs, _runs(ctx))
    add_matches(judge, ctx.inputs)
    certified = certificate(recipe, ctx.inputs, trained, reward_models, judge)
    bills = bills_record(ctx.inputs, _runs(ctx), ctx.config.get("needs", {}))
    trainings = _trainings(ctx, recipe, trained)
    results: Record = {
        "schema_version": SCHEMA_VERSION,
        "recipe": recipe,
        "profile": recipe["profile"],
        "models": [row.name for row in rows],
        "judge": judge,
        **_statistics(ctx, rows, reward_models, judge, trainings, bills),
        **trainings,
        "bills": bills[0],
        "plan": _plan(recipe, ctx.inputs["base"] / "model", trained),
        "reward_models": reward_models,
        "training": {
            name: {"metrics": metrics, "curves": training_curves(ctx.inputs[f"train/{name}"])}
            for name, metrics in trained.items()
        },
        "certificate": certified,
        "notes": notes(ctx.config["notes"], ctx.inputs),
        "costs": {**costs(ctx.inputs), "bills": bills[1]},
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


def _statistics(
    ctx: StageContext,
    rows: Sequence[Row],
    reward_models: Mapping[str, Mapping[str, Any]],
    judge: Record,
    trainings: Mapping[str, Any],
    bills: tuple[Record, Record],
) -> Record:
    """Everything in results.json that is estimated or concluded from estimates.

    What follows from the measured one of `bills` is put there, as it differs in equal runs.
    """
    recipe = ctx.config["recipe"]
    evaluation = recipe["evaluation"]
    resamples, confidence = int(evaluation["resamples"]), float(evaluation["confidence"])
    methods = [row.name for row in rows if row.name not in BEFORE_METHODS]
    estimates = Estimates(rows, resamples, confidence, RESAMPLING_SEED)
    tests = against_reference(estimates)
    pairs = between_methods(estimates, methods)
    given = answers(ctx.inputs, _runs(ctx))
    judge["gold_simulated"] = any(answer.gold is not None for answer in given.values())
    labels, unused = read_human(ctx.inputs, rows, given, OPPONENTS)
    audit = audit_record(rows, given, ctx.inputs, labels, resamples, confidence, OPPONENTS)
    if not judge["simulated"]:
        audit["ratings"] = rating_ranks(rows, given, ctx.inputs, confidence, RESAMPLING_SEED)
    minimum = float(recipe["reward_model"]["minimum_accuracy"])
    return {
        "rows": estimates.tidy(),
        **_between(ctx, rows, estimates, judge, (tests, pairs), bills),
        "targets": target_rows(estimates, methods),
        "judge_audit": audit,
        "human": human_record(rows, labels, unused, confidence),
        "flags": flags(estimates, tests, methods, reward_models, minimum, trainings, audit, judge),
        "verdict": verdict(tests, pairs, methods, estimates, _opinions(judge)),
        "statistics": {
            "confidence": confidence,
            "resamples": resamples,
            "diversity_samples": min(len(texts) for row in rows for texts in row.texts),
            "against_sft": tests,
            "between_methods": pairs,
            "best": separable_best(estimates),
            "judge_inconsistency": {
                "pairs": audit["pairs"] - audit["unanswered"],
                "inconsistent_percent": audit["inconsistent"]["value"],
            },
            "length_controlled": length_controlled(rows, given, "sft", "sft", confidence),
            "raw_rewards": {
                row.name: {
                    metric: estimates[row.name, metric].interval.value
                    for metric in ("reward_proxy_raw", "reward_gold_rm_raw")
                }
                for row in rows
            },
        },
    }


def _between(
    ctx: StageContext,
    rows: Sequence[Row],
    estimates: Estimates,
    judge: Record,
    tests: tuple[Sequence[Record], Sequence[Record]],
    bills: tuple[Record, Record],
) -> Record:
    """Who beats whom, and which method under which constraint."""
    competing = [row for row in rows if row.name not in SENTINELS]
    trained = [row for row in rows if row.name not in BEFORE_METHODS]
    methods = [row.name for row in trained]
    stability = stability_record(trained, estimates.confidence)
    asked = candidates(*tests, methods, estimates)
    counted, measured = bills
    measured["environment"] = _environment(ctx.inputs)
    measured["choices"] = [memory_choice(asked, methods, measured, estimates.confidence)]
    resamples = int(ctx.config["recipe"]["evaluation"]["resamples"])
    return {
        "pairwise": pairwise_record(ctx.inputs, competing, estimates, judge, resamples),
        "choices": choices_record(asked, tests[1], methods, estimates, counted, stability),
        "effect": effect_record(estimates, methods),
        "stability": stability,
    }


def _environment(inputs: Mapping[str, Path]) -> Record | None:
    """The machine and libraries of the first training; None where no store recorded them."""
    first = next((inputs[name] for name in sorted(inputs) if name.startswith("train/")), Path())
    path = first / "manifest.json"
    known = _read(path).get("environment") if path.exists() else None
    if known is None:
        return None
    where = {n: known.get(n) for n in ("python", "platform", "processor", "cpu_count")}
    return {**where, "libraries": known.get("versions", {})}


def _opinions(judge: Mapping[str, Any]) -> list[str]:
    """Whose opinion the numbers are."""
    if judge["simulated"]:
        return [f"Gold reward and win rates are the verdicts of: {judge['name']}."]
    gold = "the sandbox's exact rule" if judge["gold_simulated"] else "the gold reward model"
    return [f"Gold reward is that of {gold}; win rates are the verdicts of: {judge['name']}."]


def _read(path: Path) -> Record:
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    return record
