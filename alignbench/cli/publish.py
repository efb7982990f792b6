"""``alignbench publish``."""

from __future__ import annotations

from pathlib import Path

import click

from alignbench.cli.common import finished_run, make_console, say, warn


@click.command("publish")
@click.argument("run")
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("leaderboards"),
    show_default=True,
    help="Folder of entries.",
)
def command(run: str, folder: Path) -> None:
    """Write a run's entry for a leaderboard.

    RUN is a run folder, or its name below runs/. The entry holds the table, what its statistics
    rest on, and the certificate; no text of a model or prompt, no place of this machine. See
    leaderboards/README.md.
    """
    from alignbench.leaderboard.entry import save
    from alignbench.leaderboard.make import entry_of_run

    source, record = finished_run(run)
    made, store = entry_of_run(source, record)
    if made["observations"] is None:
        warn(f"{store.root} no longer has the run's scores: the entry has none by prompt")
    written = save(made, folder)
    say(make_console(), f"Entry: {written} ({written.stat().st_size / 1000:.0f} kB)")
