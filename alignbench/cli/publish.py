"""``alignbench publish``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    from alignbench.leaderboard.make import entry_of, observed
    from alignbench.results import load
    from alignbench.run_folder import store_root
    from alignbench.store import Store

    source, record = finished_run(run)
    results = load(source / "results.json")
    manifests = _manifests(source, record)
    rows = [(str(row), int(seed)) for row, seed in manifests["results"]["config"].get("rows", [])]
    store = Store(store_root(source))
    found = observed(record["stages"], rows, store) if rows else None
    if found is None:
        warn(f"{store.root} no longer has the run's scores: the entry has none by prompt")
    places = [str(Path.home()), str(source.resolve()), str(store.root.resolve()), str(Path.cwd())]
    written = save(entry_of(results, record, manifests, found, places), folder)
    say(make_console(), f"Entry: {written} ({written.stat().st_size / 1000:.0f} kB)")


def _manifests(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Manifests of the stages of a verified run, by name, in its order."""
    from alignbench.errors import UserError
    from alignbench.run_folder import manifest_name

    found = {}
    for stage in record["stages"]:
        path = folder / "manifests" / manifest_name(stage["stage"])
        try:
            found[stage["stage"]] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error}); run the recipe again") from error
    if "results" not in found:
        raise UserError(f"{folder}: has no stage `results`; run the recipe again")
    return found
