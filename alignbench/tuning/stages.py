"""The trials of a row as stages of the pipeline: a chain, each knowing all before it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

from alignbench.errors import UserError
from alignbench.metering.budget import Budget
from alignbench.metering.currencies import DATA
from alignbench.methods.registry import resolve
from alignbench.recipe.schema import Recipe
from alignbench.stage import Stage

FIRST_SEED = 1_000_003
"""Training seed of trials, on top of `tuning.seed`: far from the seeds of the final models, else
one of those would repeat the very training that was selected for its luck."""
SAMPLING_SEED = 500_009
"""On top of `evaluation.seed`. All trials draw the same random numbers, so that less of the
difference between two of them is chance."""
TRIAL = (
    "alignbench.stages.method",
    "alignbench.tuning.select",
    "alignbench.tuning.space",
    "alignbench.tuning.study",
)


def tuning_stages(
    recipe: Recipe,
    row: str,
    inputs: Mapping[str, str],
    config: Mapping[str, Any],
    code: Sequence[str],
) -> list[Stage]:
    """``trial/<row>/<k>`` for each trial of a row; empty for a row that is not searched.

    Args:
        recipe: its `tuning` is set.
        row: of its methods.
        inputs, config, code: those of the row's training (`stages.method`), without seed and
            trials. Trials get them with a seed and budget of their own and without snapshots.

    Raises:
        UserError: Optuna is not installed.
    """
    tuning = recipe.tuning
    assert tuning is not None
    search = tuning.search.get(row)
    if not search:
        return []
    judged = tuning.metric == "reward_gold" and recipe.data.source == "sandbox"
    common_inputs = dict(inputs)
    if not judged:
        common_inputs["scorer"] = f"reward/{tuning.metric.removeprefix('reward_')}"
    if resolve(row, recipe.methods[row]).decoder() is not None:
        common_inputs["reward"] = "reward/proxy"
    evaluation = recipe.evaluation.model_dump(mode="json")
    decoding = ("samples_per_prompt", "temperature", "top_p", "batch_size")
    common = {
        **config,
        "seed": _seed(recipe),
        "budget": _share(recipe, row),
        "snapshots": [],
        "search": search,
        "search_seed": tuning.seed,
        "metric": tuning.metric,
        "judge": "sandbox" if judged else None,
        "evaluation": {name: evaluation[name] for name in decoding},
        "sampling_seed": recipe.evaluation.seed + SAMPLING_SEED,
        "optuna": _optuna_version(),
    }
    names = [f"trial/{row}/{k}" for k in range(tuning.trials)]
    return [
        Stage(
            name,
            "alignbench.stages.trial:run",
            {**common, "number": k},
            {**common_inputs, **{f"trial_{i}": earlier for i, earlier in enumerate(names[:k])}},
            (*code, *TRIAL, *(("alignbench.sandbox",) if judged else ())),
        )
        for k, name in enumerate(names)
    ]


def _seed(recipe: Recipe) -> int:
    assert recipe.tuning is not None
    seed = FIRST_SEED + recipe.tuning.seed
    while seed in recipe.seeds:
        seed += 1
    return seed


def _share(recipe: Recipe, row: str) -> dict[str, Any] | None:
    """Budget of one trial: an equal share of the tuning budget, or else the row's own.

    What a row may be given (prompts, labels) bounds its trials in either case.
    """
    tuning, own = recipe.tuning, recipe.budget_of(row)
    limits: dict[str, Any] = {} if own is None else own.model_dump(exclude_none=True)
    if tuning is not None and tuning.budget is not None:
        total: Mapping[str, float] = tuning.budget.model_dump(exclude_none=True)
        kept = {name: limits[name] for name in DATA if name in limits}
        limits = {**kept, **{name: value / tuning.trials for name, value in total.items()}}
    return Budget.model_validate(limits).model_dump(exclude_none=True) if limits else None


def _optuna_version() -> str:
    try:
        return importlib.metadata.version("optuna")
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(
            "tuning: needs Optuna, which is not installed; pip install 'alignbench[tuning]', or "
            "leave tuning out of the recipe"
        ) from error
