"""``alignbench run``."""

from __future__ import annotations

from pathlib import Path

import click

from alignbench.cli.common import Prepared, make_console, prepare, recipe_options, say, summary


@click.command("run")
@recipe_options
@click.option("--jobs", type=click.IntRange(min=1), help="Worker processes [2, or one per core].")
@click.option("--dry-run", is_flag=True, help="Validate and plan only.")
def command(
    recipe: Path,
    out: Path | None,
    profile: str,
    settings: tuple[str, ...],
    methods: str | None,
    seeds: str | None,
    jobs: int | None,
    dry_run: bool,
) -> None:
    """Run a recipe: all that is not in the store yet."""
    prepared = prepare(recipe, out, profile, settings, methods, seeds)
    console = make_console()
    say(console, prepared.loaded.profile.sentence())
    say(console, f"Plan: {summary(prepared.planned)}. Run folder {prepared.out}")
    if not dry_run:
        _execute(prepared, jobs)


def _execute(prepared: Prepared, jobs: int | None) -> None:
    from alignbench import run_folder
    from alignbench.errors import UserError
    from alignbench.executor import default_jobs, execute
    from alignbench.results import load, render_table

    loaded, out, planned = prepared.loaded, prepared.out, prepared.planned
    console = make_console()
    for changed in run_folder.prepare(out, prepared.store.root, loaded.recipe.name):
        say(console, changed)
    run_folder.write_record(out, loaded, planned, "running")
    run_folder.forget_other_stages(out, [item.stage.name for item in planned])
    from_hub = loaded.recipe.model.source == "hub" or loaded.recipe.data.source == "hh_rlhf"
    try:
        artifacts = execute(
            [item.stage for item in planned],
            prepared.store,
            out,
            jobs or default_jobs(),
            console,
            offline=not from_hub,
        )
    except UserError as error:
        run_folder.write_record(out, loaded, planned, "failed", message=str(error))
        raise
    except KeyboardInterrupt:
        run_folder.write_record(out, loaded, planned, "interrupted")
        raise
    run_folder.publish(out, artifacts)
    run_folder.write_record(out, loaded, planned, "finished", artifacts)
    render_table(console, load(out / "results.json"))
    say(console, f"Report: {out / 'report.html'}")
