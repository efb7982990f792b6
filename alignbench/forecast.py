"""The predicted spend of every training stage of a recipe, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from alignbench.data.dataset import VALID_SHARE
from alignbench.machine import hub_folder
from alignbench.metering.budget import Budget
from alignbench.metering.currencies import COUNTED
from alignbench.metering.forecast import (
    Forecast,
    ModelShape,
    Spend,
    Workload,
    add,
    read_config,
)
from alignbench.methods.base import Need
from alignbench.methods.registry import resolve
from alignbench.models.package import converted_folder
from alignbench.recipe.schema import Recipe

ASSUMPTION = "prompts and answers taken as half as long as they may be; padding not foreseen"


@dataclass(frozen=True)
class Predicted:
    """Of one stage (one seed of a method).

    Attributes:
        spend: by currency; a currency that is not in it is unknown.
        ends: the currency of the budget that ends it, None where it ends by itself.
    """

    spend: Mapping[str, float]
    ends: str | None = None


def forecast(recipe: Recipe, shape: ModelShape | None) -> dict[str, Predicted]:
    """``sft``, ``reward/<split>`` and ``train/<row>`` (one seed) -> what they will consume.

    SFT is taken without early stopping.

    Args:
        recipe: resolved.
        shape: of its model (`shape_of`); None, where it is not known: nothing is predicted.
    """
    if shape is None:
        return {}
    data = recipe.data
    work = Workload(
        shape,
        recipe.max_prompt_tokens / 2,
        recipe.max_response_tokens / 2,
        data.train_prompts,
        data.reward_pairs,
    )
    found = {"sft": Predicted(_sft(recipe, work))}
    for split, pairs in (("proxy", data.reward_pairs), ("gold", data.gold_pairs)):
        found[f"reward/{split}"] = Predicted(_reward(recipe, work, pairs))
    methods = {row: resolve(row, options) for row, options in recipe.methods.items()}
    if any(Need.REFERENCE in method.needs_of() for method in methods.values()):
        found["reference"] = Predicted(work.scored(2 * data.reward_pairs))
    for row, method in methods.items():
        budget = recipe.budget_of(row)
        limits = budget.limits() if budget is not None else {}
        given = replace(  # a limit on data bounds what there is
            work,
            pairs=int(min(work.pairs, limits.get("human_labels", math.inf))),
            prompts=int(min(work.prompts, limits.get("prompts", math.inf))),
            labels=limits.get("ai_labels", math.inf),
        )
        predicted = method.forecast(given)
        if predicted is not None:
            found[f"train/{row}"] = _within(predicted, budget, given)
    return found


def _within(predicted: Forecast, budget: Budget | None, work: Workload) -> Predicted:
    spend, ends = predicted.within(budget)
    if "prompts" in spend:  # they are counted once, however often they are used
        spend["prompts"] = min(spend["prompts"], work.prompts)
    full = {name: spend.get(name, 0.0) for name in COUNTED if name != "tokens_padding"}
    return Predicted(full if spend else {}, ends)


def _sft(recipe: Recipe, work: Workload) -> Spend:
    sft, examples = recipe.sft, recipe.data.sft_examples
    steps = sft.epochs * math.ceil(examples / (sft.batch_size * sft.gradient_accumulation))
    validated = sft.epochs * sft.evaluations_per_epoch * examples * VALID_SHARE
    return add(
        work.trained(examples * sft.epochs), work.scored(validated), {"optimizer_steps": steps}
    )


def _reward(recipe: Recipe, work: Workload, pairs: int) -> Spend:
    settings = recipe.reward_model
    batch = settings.batch_size * settings.gradient_accumulation
    held_out = pairs * VALID_SHARE
    more = {
        "optimizer_steps": float(settings.epochs * math.ceil(pairs / batch)),
        "human_labels": pairs + held_out,
    }
    trained = work.trained(2 * pairs * settings.epochs, head=False)
    return add(trained, work.scored(2 * held_out, head=False), more)


def shape_of(recipe: Recipe) -> ModelShape | None:
    """The shape of the recipe's model, as far as it is known before the model is there."""
    model = recipe.model
    if model.source == "scratch":
        return ModelShape.from_config(model.model_dump())
    if model.source == "path":
        return read_config(Path(model.path).expanduser())
    if model.source == "package":
        folder = converted_folder(model.name)
    else:
        folder = hub_folder(model.name, model.revision)
    return None if folder is None else read_config(folder)
