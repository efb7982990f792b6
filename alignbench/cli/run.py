"""``alignbench run``."""

from __future__ import annotations

from pathlib import Path

import click

from alignbench.cli.common import asked, make_console, prepare, recipe_options, say, summary
from alignbench.cli.execution import carry_out
from alignbench.trackers.choice import CHOICES, choose


@click.command("run")
@recipe_options
@click.option("--jobs", type=click.IntRange(min=1), help="Worker processes [2, or one per core].")
@click.option(
    "--tracker",
    type=click.Choice(CHOICES),
    default="auto",
    show_default=True,
    help="Who else gets the curves [auto: tensorboard, where installed].",
)
@click.option("--dry-run", is_flag=True, help="Validate and plan only.")
def command(
    recipe: Path,
    out: Path | None,
    profile: str,
    settings: tuple[str, ...],
    methods: str | None,
    seeds: str | None,
    jobs: int | None,
    tracker: str,
    dry_run: bool,
) -> None:
    """Run a recipe: all that is not in the store yet."""
    from alignbench.evaluation import uses_hub

    tracked, told = choose(tracker)
    prepared = prepare(recipe, out, profile, settings, methods, seeds)
    console = make_console()
    say(console, prepared.loaded.profile.sentence())
    say(console, prepared.engine.sentence())
    judged = asked(prepared.loaded.recipe)
    say(console, f"Plan: {summary(prepared.planned)}.{judged} Run folder {prepared.out}")
    if dry_run:
        return
    say(console, told)
    loaded = prepared.loaded
    offline = not uses_hub(loaded.recipe)
    carry_out(
        loaded.about(), prepared.out, prepared.store, prepared.planned, jobs, offline, tracked
    )
