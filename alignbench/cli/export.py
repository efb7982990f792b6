"""``alignbench export``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from alignbench.cli.common import finished_run, make_console, say


@click.command("export")
@click.argument("run")
@click.argument("method")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--seed", type=int, help="Which seed of the row, where it has several.")
def command(run: str, method: str, path: Path, seed: int | None) -> None:
    """Write a trained model as a transformers folder.

    RUN is a run folder, or its name below runs/. METHOD is a row of its table, sft, base,
    reward/proxy or reward/gold. PATH is a new or empty folder, which transformers loads with
    from_pretrained; its README.md is the model card.
    """
    # Before transformers is imported: its bars would be all that one sees.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from alignbench import export
    from alignbench.results import load
    from alignbench.run_folder import store_root
    from alignbench.store import Store

    folder, record = finished_run(run)
    checkpoint = export.find(record["stages"], method, seed)
    results = load(folder / "results.json")
    store = Store(store_root(folder))
    files = export.export(checkpoint, results, store, path)
    console = make_console()
    say(console, f"{checkpoint.name}: {path} ({', '.join(files)})")
    if export.DECODER in files:
        say(
            console,
            f"Its answers are chosen as {export.DECODER} says: plain sampling from these weights "
            "gives other results. The model card tells more.",
        )
