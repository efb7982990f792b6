"""The whole run, as a list of stages in the order of their needs.

    data -> base -> sft -> reward/... -> (trial/<method>/<k>) -> train/<method>/<seed>
    train -> generate -> score, judge, matches; train -> curve
    all of them -> results -> cards, report

Stages talk through files only; `stage.Stage` says what one is, `executor.execute` runs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alignbench.engines.choice import choose
from alignbench.evaluation import (
    FILES,
    MODELS,
    SANDBOX,
    Evaluated,
    content_digest,
    evaluated_rows,
    evaluation_stages,
    human_stages,
    judge_config,
    limits,
    match_stages,
    report_stage,
)
from alignbench.machine import version_of
from alignbench.metering.currencies import TIME
from alignbench.methods.base import Method, Need
from alignbench.methods.registry import method_class, resolve
from alignbench.recipe.schema import Recipe
from alignbench.results.bills import row_needs
from alignbench.stage import Stage
from alignbench.tuning.stages import tuning_stages

TRAINING = (*MODELS, "alignbench.training.common")
HARNESS = (*TRAINING, "alignbench.methods.base")
CHOOSING = ("alignbench.tuning.select", "alignbench.tuning.space")
STATISTICS = (
    "alignbench.results",
    "alignbench.forecast",
    "alignbench.methods",
    "alignbench.health",
    "alignbench.tuning",
    "alignbench.metering",
    "alignbench.stats",
    "alignbench.metrics.diversity",
    "alignbench.judges.audit",
    "alignbench.judges.base",
    "alignbench.judges.sandbox",
    *SANDBOX,
    *FILES,
)
CARDS = (
    "alignbench.results",
    "alignbench.leaderboard.texts",
    "alignbench.data.reading",
    "alignbench.scoring.records",
    *FILES,
)
MEASURED = (
    "reference",
    "train",
    "generate",
    "score",
    "judge",
    "matches",
    "reward",
    "curve",
    "trial",
    "human",
)
"""Kinds of stages that the results rest on."""


def build(recipe: Recipe, notes: Sequence[str] = ()) -> list[Stage]:
    """The stages of a recipe, every stage after its inputs.

    Args:
        recipe: resolved to one profile.
        notes: lines about this run (why this profile) that the report must show.
    """
    recipe = recipe.model_copy(update={"engine": choose(recipe.engine).name})
    shared = _shared(recipe)
    rows = evaluated_rows(recipe)
    judge = judge_config(recipe.judge)
    evaluation = [stage for row in rows for stage in evaluation_stages(recipe, row, judge)]
    # The judge compares every row with base and SFT: all answers come before the first verdict.
    evaluation.sort(key=lambda stage: not stage.name.startswith("generate/"))
    evaluation += [*match_stages(recipe, judge), *human_stages(recipe.human_labels)]
    stages = [*shared, *_training(recipe), *evaluation]
    return [*stages, *_report(recipe, rows, stages, notes)]


def _shared(recipe: Recipe) -> list[Stage]:
    """What all methods start from: data, base, SFT and the two reward models."""
    given = limits(recipe)
    dump = recipe.model_dump(mode="json")
    held = {**_held(recipe), **given}
    reward = [
        Stage(
            f"reward/{split}",
            "alignbench.stages.reward:run",
            {"reward_model": dump["reward_model"], "split": split, "seed": seed, **held},
            {"data": "data", "sft": "sft"},
            TRAINING,
        )
        for split, seed in (
            ("proxy", recipe.reward_model.seed),
            ("gold", recipe.reward_model.gold_seed),
        )
    ]
    return [
        Stage(
            "data",
            "alignbench.stages.data:run",
            {"data": dump["data"], "content": content_digest(dump["data"])},
            code=(*SANDBOX, "alignbench.data", "alignbench.scoring.records"),
        ),
        Stage(
            "base",
            "alignbench.stages.base:run",
            {
                "model": dump["model"],
                "content": content_digest(dump["model"]),
                "pretrain": dump["pretrain"],
                **given,
            },
            {"data": "data"},
            (*TRAINING, "alignbench.pretrained"),
            threads=2,  # nothing else can run beside it
        ),
        Stage(
            "sft",
            "alignbench.stages.sft:run",
            {"sft": dump["sft"], **held},
            {"data": "data", "base": "base"},
            TRAINING,
            threads=2,
        ),
        *reward,
        *_reference(recipe),
    ]


def _reference(recipe: Recipe) -> list[Stage]:
    """The start model's log-probabilities of the human pairs, where a row wants them."""
    methods = [resolve(row, options) for row, options in recipe.methods.items()]
    if not any(Need.REFERENCE in method.needs_of() for method in methods):
        return []
    return [
        Stage(
            "reference",
            "alignbench.stages.reference:run",
            limits(recipe),
            {"data": "data", "sft": "sft"},
            (*HARNESS, "alignbench.training"),
        )
    ]


def _held(recipe: Recipe) -> dict[str, Any]:
    """How models are held while they are trained, and who makes the adapters."""
    training = recipe.training.model_dump(mode="json")
    return {"training": training, "peft": version_of("peft") if recipe.training.lora else None}


def _training(recipe: Recipe) -> list[Stage]:
    """One stage for every method and seed, each from the same SFT checkpoint."""
    stages = []
    for row in recipe.methods:
        inputs, config, code = _method(recipe, row)
        trials = tuning_stages(recipe, row, inputs, config, code) if recipe.tuning else []
        chosen = {f"trial_{k}": trial.name for k, trial in enumerate(trials)}
        stages += trials
        budget = recipe.budget_of(row)
        timed = budget is not None and any(limit in budget.limits() for limit in TIME)
        threads = 2 if timed else 1  # against the clock, a row has the machine to itself
        stages += [
            Stage(
                f"train/{row}/{seed}",
                "alignbench.stages.method:run",
                {**config, "seed": seed},
                {**inputs, **chosen},
                (*code, *CHOOSING) if chosen else code,
                threads=threads,
            )
            for seed in recipe.seeds
        ]
    return stages


def _method(recipe: Recipe, row: str) -> tuple[dict[str, str], dict[str, Any], tuple[str, ...]]:
    """Inputs, config (but the seed) and code of a row's training."""
    options = recipe.methods[row]
    cls, method = method_class(row, options), resolve(row, options)
    needs = method.needs_of()
    labeller = recipe.labeller.kind if recipe.labeller is not None else None
    inputs = {"data": "data", "sft": "sft"}
    if Need.REFERENCE in needs:
        inputs["reference"] = "reference"
    if Need.REWARD in needs or (Need.LABELLER in needs and labeller == "reward_model"):
        inputs["reward"] = "reward/proxy"
    budget = recipe.budget_of(row)
    config = {
        "row": row,
        # With the defaults filled in: a change of a default is a change of the stage.
        "options": {**method.model_dump(mode="json"), **_uses(options)},
        "budget": budget.model_dump(exclude_none=True) if budget is not None else None,
        "budget_override": options.get("budget") is not None,
        "snapshots": recipe.snapshots,
        **_held(recipe),
        "engine": recipe.engine,
        **limits(recipe),
    }
    if Need.LABELLER in needs:
        config["labeller"] = labeller
    code = (*_modules(cls), *cls.code, *HARNESS, *(SANDBOX if labeller == "sandbox" else ()))
    return inputs, config, code


def _modules(cls: type[Method]) -> list[str]:
    """Where a method's code is: its class and what it inherits from.

    Of a plug-in the whole package, since its class may use any part of it.
    """
    modules = [base.__module__ for base in cls.__mro__ if issubclass(base, Method)]
    own = "alignbench"
    return [m if m.partition(".")[0] == own else m.partition(".")[0] for m in modules]


def _uses(options: dict[str, Any]) -> dict[str, Any]:
    return {"uses": options["uses"]} if "uses" in options else {}


def _report(
    recipe: Recipe,
    rows: list[Evaluated],
    stages: list[Stage],
    notes: Sequence[str],
) -> list[Stage]:
    """Statistics over everything, and the pages that show them."""
    gathered = {s.name: s.name for s in stages if s.name.split("/")[0] in MEASURED}
    config = {
        "recipe": recipe.model_dump(mode="json"),
        "rows": [[row.name, row.seed] for row in rows],
        "needs": row_needs({s.name: s.inputs.values() for s in stages}, recipe.methods),
        "notes": list(notes),
    }
    return [
        Stage(
            "results",
            "alignbench.stages.results:run",
            config,
            {"data": "data", "base": "base", "sft": "sft", **gathered},
            STATISTICS,
        ),
        Stage("cards", "alignbench.stages.cards:run", {}, {"results": "results"}, CARDS),
        report_stage(gathered),
    ]
