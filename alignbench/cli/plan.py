"""``alignbench plan``."""

from __future__ import annotations

from pathlib import Path

import click

from alignbench.cli.common import make_console, prepare, recipe_options, say, show_table, summary


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
    """Show the stages of a recipe and what they may cost."""
    from alignbench.progress import duration

    prepared = prepare(recipe, out, profile, settings, methods, seeds)
    console = make_console()
    say(console, prepared.loaded.profile.sentence())
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
    say(console, f"{summary(prepared.planned)}. Store {prepared.store.root}")
