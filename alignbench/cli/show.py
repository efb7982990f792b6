"""``alignbench show``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignbench.cli.common import make_console, say, warn

if TYPE_CHECKING:
    from rich.console import Console


@click.command("show")
@click.argument("run")
@click.option("--follow", is_flag=True, help="Watch a running one until it ends.")
def command(run: str, follow: bool) -> None:
    """Show the results of a run, or how far it has come.

    RUN is a run folder, or its name below runs/.
    """
    from alignbench.results import load, render_table
    from alignbench.run_folder import find_run
    from alignbench.run_record import load_record, verify

    folder = find_run(run)
    record = load_record(folder)
    console = make_console()
    if follow and record["state"] == "running":
        from alignbench.terminal import watch

        watch.follow(console, folder)
        record = load_record(folder)
    warnings = verify(folder, record)
    say(console, f"Recipe {record['recipe']}, profile {record['profile']}: {record['state']}")
    if record["state"] != "finished":
        _how_far(console, folder, record)
        return
    render_table(console, load(folder / "results.json"))
    say(console, f"Report: {folder / 'report.html'}")
    for warning in warnings:
        warn(warning)


def _how_far(console: Console, folder: Path, record: Mapping[str, Any]) -> None:
    """The tree of an unfinished run, what its stages told, and why it ended if it did."""
    from alignbench.terminal import watch
    from alignbench.terminal.text import said_line, tell
    from alignbench.terminal.tree import print_tree

    snapshot = watch.snapshot_of(folder, record)
    print_tree(console, snapshot)
    for said in snapshot.notes:
        tell(console, said_line(said))
    if (silent := watch.silence(snapshot, record)) is not None:
        say(console, silent)
    message = str(record.get("message") or "")
    for line in message.splitlines():
        say(console, line)
    if record["state"] in ("failed", "interrupted") and "the same command" not in message:
        say(console, "Finished stages are kept: the same command continues from there.")
