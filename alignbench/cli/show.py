"""``alignbench show``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignbench.cli.common import make_console, say, show_table

if TYPE_CHECKING:
    from rich.console import Console


@click.command("show")
@click.argument("run")
def command(run: str) -> None:
    """Show the results of a run, or how far it has come.

    RUN is a run folder, or its name below runs/.
    """
    from alignbench import run_folder
    from alignbench.errors import UserError
    from alignbench.results import load, render_table

    folder = run_folder.find_run(run)
    record = run_folder.load_record(folder)
    console = make_console()
    header = f"Recipe {record['recipe']}, profile {record['profile']}: {record['state']}"
    say(console, header)
    if record["state"] != "finished":
        _status(console, folder, record)
        return
    if not (folder / "results.json").is_file():
        raise UserError(f"{folder}: results.json is missing; run the recipe again to restore it")
    render_table(console, load(folder / "results.json"))
    say(console, f"Report: {folder / 'report.html'}")


def _status(console: Console, folder: Path, record: Mapping[str, Any]) -> None:
    """Which stages have a manifest with the key of this run, and how long they took."""
    import json

    from alignbench.progress import duration
    from alignbench.run_folder import manifest_name

    rows = []
    finished = 0
    for stage in record["stages"]:
        path = folder / "manifests" / manifest_name(stage["stage"])
        manifest = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        done = manifest.get("key") == stage["key"]
        finished += done
        took = duration(manifest["seconds"]) if done else "–"
        rows.append((stage["stage"], "finished" if done else "not finished", took))
    show_table(console, ("stage", "state", "took"), rows)
    say(console, f"{finished} of {len(record['stages'])} stages finished")
