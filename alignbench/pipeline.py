"""The whole run, as a list of stages in the order of their needs.

    data -> base -> sft -> reward/... -> (trial/<method>/<k>) -> train/<method>/<seed>
    train -> generate -> score, judge; train -> curve; all of them -> results -> report

Stages talk through files only; `stage.Stage` says what one is, `executor.execute` runs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignbench.digest import sha256_file, sha256_json
from alignbench.metering.currencies import TIME
from alignbench.methods.base import Method, Need
from alignbench.methods.registry import method_class, resolve
from alignbench.recipe.schema import Recipe
from alignbench.results.bills import row_needs
from alignbench.stage import Stage
from alignbench.tuning.stages import tuning_stages

FILES = ("alignbench.files",)
MODELS = ("alignbench.models", "alignbench.metering", *FILES)
TRAINING = (*MODELS, "alignbench.training.common")
HARNESS = (*TRAINING, "alignbench.methods.base")
CHOOSING = ("alignbench.tuning.select", "alignbench.tuning.space")
SANDBOX = ("alignbench.sandbox", "alignbench.data", *FILES)


def build(recipe: Recipe, notes: Sequence[str] = ()) -> list[Stage]:
    """The stages of a recipe, every stage after its inputs.

    Args:
        recipe: resolved to one profile.
        notes: lines about this run (why this profile) that the report must show.
    """
    shared = _shared(recipe)
    rows = _rows(recipe)
    evaluation = [stage for row in rows for stage in _evaluation(recipe, *row)]
    # The judge compares every row with base and SFT: all answers come before the first verdict.
    evaluation.sort(key=lambda stage: not stage.name.startswith("generate/"))
    stages = [*shared, *_training(recipe), *evaluation]
    return [*stages, *_report(recipe, rows, stages, notes)]


def _limits(recipe: Recipe) -> dict[str, Any]:
    return {
        "max_prompt_tokens": recipe.max_prompt_tokens,
        "max_response_tokens": recipe.max_response_tokens,
        "precision": recipe.precision,
    }


def _content(section: dict[str, Any]) -> str | None:
    """Digest of the local file or folder that a section names, so that a changed one counts."""
    path = Path(section.get("path", "")).expanduser()
    if "path" not in section or not path.exists():
        return None
    # Links are followed: a snapshot in the hub's cache consists of nothing else.
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    return sha256_json({f.relative_to(path).as_posix(): sha256_file(f) for f in files})


def _shared(recipe: Recipe) -> list[Stage]:
    """What all methods start from: data, base, SFT and the two reward models."""
    limits = _limits(recipe)
    dump = recipe.model_dump(mode="json")
    reward = [
        Stage(
            f"reward/{split}",
            "alignbench.stages.reward:run",
            {"reward_model": dump["reward_model"], "split": split, "seed": seed, **limits},
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
            {"data": dump["data"], "content": _content(dump["data"])},
            code=SANDBOX,
        ),
        Stage(
            "base",
            "alignbench.stages.base:run",
            {
                "model": dump["model"],
                "content": _content(dump["model"]),
                "pretrain": dump["pretrain"],
                **limits,
            },
            {"data": "data"},
            (*TRAINING, "alignbench.pretrained"),
            threads=2,  # nothing else can run beside it
        ),
        Stage(
            "sft",
            "alignbench.stages.sft:run",
            {"sft": dump["sft"], **limits},
            {"data": "data", "base": "base"},
            TRAINING,
            threads=2,
        ),
        *reward,
    ]


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
        **_limits(recipe),
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


def _rows(recipe: Recipe) -> list[tuple[str, int, str, int]]:
    """(row, seed, stage of its model, sampling seed) in the order of the table.

    `sft_copy` is the sentinel: the SFT weights sampled with other random numbers.
    """
    seed = recipe.evaluation.seed
    fixed = [("base", 0, "base", seed), ("sft", 0, "sft", seed), ("sft_copy", 0, "sft", seed + 1)]
    return fixed + [
        (row, s, f"train/{row}/{s}", seed + 2 + s) for row in recipe.methods for s in recipe.seeds
    ]


def _evaluation(recipe: Recipe, row: str, seed: int, model: str, sampling_seed: int) -> list[Stage]:
    """Sample, score and judge the answers of one model; score its snapshots."""
    evaluation = recipe.evaluation.model_dump(mode="json")
    decoding = {k: evaluation[k] for k in ("samples_per_prompt", "temperature", "top_p")}
    responses = f"generate/{row}/{seed}"
    judge = {"judge": recipe.judge.model_dump(mode="json")}
    scorers = ("alignbench.metrics", "alignbench.judges", *MODELS, *SANDBOX)
    trained = model.startswith("train/")
    sampler = {"data": "data", "model": model}
    if trained and resolve(row, recipe.methods[row]).decoder() is not None:
        sampler["reward"] = "reward/proxy"
    stages = [
        Stage(
            responses,
            "alignbench.stages.generate:run",
            {
                "evaluation": {**decoding, "batch_size": evaluation["batch_size"]},
                "seed": sampling_seed,
                **_limits(recipe),
            },
            sampler,
            MODELS,
        ),
        Stage(
            f"score/{row}/{seed}",
            "alignbench.stages.score:run",
            {**judge, **_limits(recipe)},
            {
                "data": "data",
                "responses": responses,
                "model": model,
                "sft": "sft",
                "reward_proxy": "reward/proxy",
                "reward_gold": "reward/gold",
            },
            scorers,
        ),
        Stage(
            f"judge/{row}/{seed}",
            "alignbench.stages.judge:run",
            judge,
            {
                "responses": responses,
                "base_responses": "generate/base/0",
                "sft_responses": "generate/sft/0",
                "reward_gold": "reward/gold",
            },
            scorers,
        ),
    ]
    if trained and recipe.snapshots:
        stages.append(_curve(recipe, row, seed, model, scorers))
    return stages


def _curve(recipe: Recipe, row: str, seed: int, model: str, scorers: tuple[str, ...]) -> Stage:
    """Score the snapshots of one training run, all rows' on the same prompts and numbers."""
    evaluation = recipe.evaluation.model_dump(mode="json")
    return Stage(
        f"curve/{row}/{seed}",
        "alignbench.stages.curve:run",
        {
            "snapshot_prompts": evaluation["snapshot_prompts"],
            "evaluation": {k: evaluation[k] for k in ("temperature", "top_p", "batch_size")},
            "seed": evaluation["seed"],
            "judge": recipe.judge.model_dump(mode="json"),
            **_limits(recipe),
        },
        {
            "data": "data",
            "sft": "sft",
            "model": model,
            "reward_proxy": "reward/proxy",
            "reward_gold": "reward/gold",
        },
        (*scorers, "alignbench.training.common"),
    )


def _report(
    recipe: Recipe,
    rows: list[tuple[str, int, str, int]],
    stages: list[Stage],
    notes: Sequence[str],
) -> list[Stage]:
    """Statistics over everything, and the page that shows them."""
    kinds = ("train", "generate", "score", "judge", "reward", "curve", "trial")
    gathered = {s.name: s.name for s in stages if s.name.split("/")[0] in kinds}
    responses = {n: n for n in gathered if n.startswith("generate/")}
    config = {
        "recipe": recipe.model_dump(mode="json"),
        "rows": [[row, seed] for row, seed, _, _ in rows],
        "needs": row_needs({s.name: s.inputs.values() for s in stages}, recipe.methods),
        "notes": list(notes),
    }
    return [
        Stage(
            "results",
            "alignbench.stages.results:run",
            config,
            {"data": "data", "base": "base", "sft": "sft", **gathered},
            (
                "alignbench.results",
                "alignbench.forecast",
                "alignbench.methods",
                "alignbench.health",
                "alignbench.tuning",
                "alignbench.metering",
                "alignbench.stats",
                "alignbench.metrics.diversity",
                "alignbench.judges.base",
                *FILES,
            ),
        ),
        Stage(
            "report",
            "alignbench.stages.report:run",
            {},
            {"data": "data", "results": "results", **responses},
            ("alignbench.report", "alignbench.results", *FILES),
        ),
    ]
