"""``alignbench show``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignbench.cli.common import make_console, say, show_table, warn

if TYPE_CHECKING:
    from rich.console import Console


@click.command("show")
@click.argument("run")
def command(run: str) -> None:
    """Show the results of a run, or how far it has come.

    RUN is a run folder, or its name below runs/.
    """
    from alignbench.results import load, render_table
    from alignbench.run_folder import find_run
    from alignbench.run_record import load_record, verify

    folder = find_run(run)
    record = load_record(folder)
    warnings = verify(folder, record)
    console = make_console()
    header = f"Recipe {record['recipe']}, profile {record['profile']}: {record['state']}"
    say(console, header)
    if record["state"] != "finished":
        for line in (record.get("message") or "").splitlines():
            say(console, line)
        _status(console, folder, record)
        return
    render_table(console, load(folder / "results.json"))
    say(console, f"Report: {folder / 'report.html'}")
    for warning in warnings:
        warn(warning)


def _status(console: Console, folder: Path, record: Mapping[str, Any]) -> None:
    """Which stages have a manifest with the key of this run, and how long they took."""
    from alignbench.progress import duration

    rows = []
    finished = 0
    for stage in record["stages"]:
        manifest = _manifest(folder, stage["stage"])
        done = manifest.get("key") == stage["key"]
        finished += done
        took = duration(manifest["seconds"]) if done else "–"
        rows.append((stage["stage"], "finished" if done else "not finished", took))
    show_table(console, ("stage", "state", "took"), rows)
    say(console, f"{finished} of {len(record['stages'])} stages finished")


def _manifest(folder: Path, stage: str) -> Mapping[str, Any]:
    """A stage's manifest; nothing where there is none that can be read."""
    import json

    from alignbench.run_folder import manifest_name

    path = folder / "manifests" / manifest_name(stage)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        known = {"key": manifest["key"], "seconds": float(manifest["seconds"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return known
