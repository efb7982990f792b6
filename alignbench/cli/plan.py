"""``alignbench plan``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from alignbench.cli.common import (
    asked,
    make_console,
    prepare,
    recipe_options,
    say,
    show_table,
    summary,
)

if TYPE_CHECKING:
    from rich.console import Console

    from alignbench.forecast import Predicted
    from alignbench.recipe.schema import Recipe


@click.command("plan")
@recipe_options
def command(
    recipe: Path,
    out: Path | None,
    profile: str,
    settings: tuple[str, ...],
    methods: str | None,
    seeds: str | None,
) -> None:
    """Show the stages of a recipe and what they may cost.

    In time, where the like has run here, and in every currency that a budget can limit.
    """
    from alignbench.progress import duration

    prepared = prepare(recipe, out, profile, settings, methods, seeds)
    console = make_console()
    say(console, prepared.loaded.profile.sentence())
    say(console, prepared.engine.sentence())
    rows = [
        (
            item.stage.name,
            "yes" if item.cached else "no",
            str(item.stage.threads),
            "–" if item.seconds_estimate is None else duration(item.seconds_estimate),
            item.key[:16],
        )
        for item in prepared.planned
    ]
    show_table(console, ("stage", "in the store", "threads", "estimate", "key"), rows)
    _show_spend(console, prepared.loaded.recipe)
    judged = asked(prepared.loaded.recipe)
    say(console, f"{summary(prepared.planned)}.{judged} Store {prepared.store.root}")


def _show_spend(console: Console, recipe: Recipe) -> None:
    """What each training stage is predicted to consume, and what ends it."""
    from alignbench.forecast import ASSUMPTION, forecast, shape_of
    from alignbench.metering.currencies import COUNTED, LABELS, amount

    predicted = forecast(recipe, shape_of(recipe))
    currencies = [name for name in COUNTED if name != "tokens_padding"]
    rows = []
    shared = [
        "sft",
        "reward/proxy",
        "reward/gold",
        *(["reference"] if "reference" in predicted else []),
    ]
    for name in [*shared, *(f"train/{row}" for row in recipe.methods)]:
        spend = predicted[name].spend if name in predicted else {}
        cells = [amount(currency, spend.get(currency)) for currency in currencies]
        rows.append((name, *cells, _end(recipe, name, predicted.get(name))))
    if not predicted:
        say(
            console,
            "The model's shape is not known here, so what its training costs is not either.",
        )
    say(console, f"Predicted spend of each training, one seed ({ASSUMPTION}):")
    show_table(console, ("stage", *(LABELS[name] for name in currencies), "ends"), rows)
    if recipe.tuning is not None:
        message = (
            f"Tuning: {recipe.tuning.trials} trials for each row that is searched, not included"
        )
        say(console, f"{message} above; each costs as much as its share of the budget allows")


def _end(recipe: Recipe, stage: str, known: Predicted | None) -> str:
    """What ends a method: its budget (marked where it is its own), or the method itself."""
    from alignbench.metering.currencies import TIME

    kind, _, row = stage.partition("/")
    if kind != "train":
        return "by itself"
    budget = recipe.budget_of(row)
    if budget is None:
        return "by itself"
    own = recipe.methods[row].get("budget") is not None
    suffix = " (its own budget)" if own else ""
    limits = budget.limits()
    written = ", ".join(f"{name} {value:g}" for name, value in limits.items())
    if known is None or not known.spend:
        return f"within {written}{suffix}"
    clock = ", ".join(f"{name} {limits[name]:g}" for name in TIME if name in limits)
    at_the_latest = f", at the latest at {clock}" if clock else ""
    if known.ends is None:
        return f"by itself, within {written}{suffix}"
    return f"at {known.ends} {limits[known.ends]:g}{at_the_latest}{suffix}"
