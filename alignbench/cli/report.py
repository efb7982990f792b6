"""``alignbench report``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alignbench.cli.common import make_console, say, warn

if TYPE_CHECKING:
    from alignbench.store import Store

REPORT = "report.html"


@click.command("report")
@click.argument("run")
@click.option("--out", type=click.Path(path_type=Path), help="File [report.html of the run].")
def command(run: str, out: Path | None) -> None:
    """Make the report of a finished run again.

    It needs the run's results and its responses in the store. RUN is a run folder, or its name
    below runs/.
    """
    from alignbench import run_folder, run_record
    from alignbench.errors import UserError
    from alignbench.report.html import write_report
    from alignbench.results import load
    from alignbench.stages.report import pick_samples
    from alignbench.store import Store

    folder = run_folder.find_run(run)
    record = run_record.load_record(folder)
    if record["state"] != "finished":
        raise UserError(
            f"{folder}: the run is {record['state']}; run its recipe again to finish it"
        )
    target = out if out is not None else folder / REPORT
    own = _own_name(folder, target)
    if own is not None and own != REPORT and own in {run_record.RECORD, *record["files"]}:
        raise UserError(f"--out {target} is a file of the run; choose another")
    for warning in run_record.verify(folder, record, ignore={REPORT} if own == REPORT else ()):
        warn(warning)
    results = load(folder / "results.json")
    sampled = _responses(record["stages"], Store(run_folder.store_root(folder)))
    try:
        write_report(results, pick_samples(sampled, results["models"]), target)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from error
    if own == REPORT:
        run_record.record_file(folder, REPORT)
    say(make_console(), f"Report: {target}")


def _own_name(folder: Path, target: Path) -> str | None:
    """Name of a file inside the run's folder, None for one elsewhere; a last link is kept."""
    place, root = target.absolute().parent.resolve(), folder.resolve()
    return (
        (place / target.name).relative_to(root).as_posix() if place.is_relative_to(root) else None
    )


def _responses(stages: Sequence[Mapping[str, str]], store: Store) -> dict[str, Path]:
    """Folder of every `generate` stage of the run, by the stage's name; content verified.

    Raises:
        UserError: one is no longer in the store, or is corrupt.
    """
    from alignbench.errors import UserError
    from alignbench.store import Corrupt

    folders = {}
    for stage in stages:
        if not stage["stage"].startswith("generate/"):
            continue
        try:
            found = store.read("generate", stage["key"])
        except Corrupt as error:
            raise UserError(f"{error}; run the recipe again to make it anew") from error
        if found is None:
            raise UserError(
                f"responses of {stage['stage']} are not in the store {store.root}; "
                f"set ALIGNBENCH_STORE to the store of the run, or run the recipe again"
            )
        folders[stage["stage"]] = found.folder
    return folders
