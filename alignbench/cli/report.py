"""``alignbench report``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignbench.cli.common import finished_run, make_console, say, warn
from alignbench.errors import UserError

if TYPE_CHECKING:
    from alignbench.leaderboard.pages import Skipped
    from alignbench.leaderboard.schema import Entry
    from alignbench.store import Store

REPORT = "report.html"
LEADERBOARDS = Path("leaderboards")
INDEX = Path("reports") / "index.html"
KINDS = ("html", "md", "csv", "json", "latex")


@click.command("report")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="File [report.html of the one run; reports/index.html; standard output if not html].",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(KINDS),
    default="html",
    show_default=True,
    help="Of the report of one run.",
)
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder of entries, without RUN [leaderboards].",
)
@click.option("--skip-bad", is_flag=True, help="Leave out entries that are refused, and say so.")
def command(
    runs: Sequence[str], out: Path | None, form: str, folder: Path | None, skip_bad: bool
) -> None:
    """Make the report of a run, or one page of many.

    RUN is a run folder, or its name below runs/. One RUN: its report anew, from its results and
    what is in the store; as md, csv, json or latex its table. Several: one page, with those in one
    table that may share one. None: that page of all published entries.
    """
    if runs and (folder is not None or skip_bad):
        raise UserError("--from and --skip-bad are for published entries: leave out RUN")
    if form != "html" and len(runs) != 1:
        raise UserError(f"--format {form} wants exactly one RUN, {len(runs)} are given")
    if len(runs) == 1:
        _one(runs[0], out, form)
    elif runs:
        _several(runs, out or INDEX)
    else:
        _published(folder or LEADERBOARDS, out or INDEX, skip_bad)


def _one(run: str, out: Path | None, form: str) -> None:
    from alignbench import run_folder, run_record
    from alignbench.results import load

    folder = run_folder.find_run(run)
    record = _finished(folder)
    target = out if out is not None or form != "html" else folder / REPORT
    own = None if target is None else _own_name(folder, target)
    again = form == "html" and own == REPORT
    if own is not None and not again and own in {run_record.RECORD, *record["files"]}:
        raise UserError(f"--out {target} is a file of the run; choose another")
    for warning in run_record.verify(folder, record, ignore={REPORT} if again else ()):
        warn(warning)
    results = load(folder / "results.json")
    if form == "html":
        text = _html(folder, record, results)
    else:
        from alignbench.results.formats import FORMATS

        text = FORMATS[form](results)
    if target is None:
        click.echo(text.encode("utf-8"), nl=False)
        return
    _write(target, text)
    if again:
        run_record.record_file(folder, REPORT)
    say(make_console(), f"Report: {target}")


def _several(runs: Sequence[str], target: Path) -> None:
    """One page of runs that are not published: their entries are made and checked, not written."""
    from alignbench.digest import sha256_json
    from alignbench.leaderboard.entry import validated
    from alignbench.leaderboard.make import entry_of_run
    from alignbench.leaderboard.pages import page
    from alignbench.results.schema import rounded_floats

    entries: dict[str, Entry] = {}
    problems: list[str] = []
    for run in dict.fromkeys(runs):
        try:
            folder, record = finished_run(run)
            if _own_name(folder, target) is not None:
                raise UserError(f"--out {target} is in the folder of {run}; choose another")
            made, store = entry_of_run(folder, record)
            if made["observations"] is None:
                warn(f"{store.root} no longer has the scores of {run}: its rows compare unpaired")
            plain = rounded_floats(made)
            digest = sha256_json(plain)
            entries[digest] = validated({**plain, "digest": digest}, run)
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(*problems)
    _write(target, page(list(entries.values())))
    say(make_console(), f"Report of {len(entries)} runs: {target}")


def _published(folder: Path, target: Path, skip_bad: bool) -> None:
    from alignbench.leaderboard.pages import page

    entries, skipped = _entries(folder)
    if skipped and not skip_bad:
        problems = [problem for each in skipped for problem in each.problems]
        raise UserError(*problems, "nothing was written; --skip-bad leaves these files out")
    if not entries:
        raise UserError(
            f"{folder}: no entries in it; `alignbench publish RUN` writes one, --from names another"
        )
    _write(target, page(entries, skipped))
    left_out = f", {len(skipped)} left out" if skipped else ""
    say(make_console(), f"Report of {len(entries)} entries{left_out}: {target}")


def _entries(folder: Path) -> tuple[list[Entry], list[Skipped]]:
    """The entries of a folder, and the files that are none, with every reason."""
    from alignbench.leaderboard.entry import load
    from alignbench.leaderboard.pages import Skipped

    entries, skipped = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            if not path.is_file():
                raise UserError(f"{path}: is no file")
            entries.append(load(path))
        except UserError as error:
            skipped.append(Skipped(path.name, error.problems))
    return entries, skipped


def _html(folder: Path, record: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    from alignbench import run_folder
    from alignbench.report.html import render_report
    from alignbench.report.samples import read_samples
    from alignbench.store import Store

    responses = _responses(record["stages"], Store(run_folder.store_root(folder)))
    return render_report(results, read_samples(responses, results["models"]))


def _finished(folder: Path) -> Mapping[str, Any]:
    from alignbench import run_record

    record = run_record.load_record(folder)
    if record["state"] != "finished":
        raise UserError(
            f"{folder}: the run is {record['state']}; run its recipe again to finish it"
        )
    return record


def _write(target: Path, text: str) -> None:
    from alignbench.files import write_atomic

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, text)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from error


def _own_name(folder: Path, target: Path) -> str | None:
    """Name of a file inside the run's folder, None for one elsewhere; a last link is kept."""
    place, root = target.absolute().parent.resolve(), folder.resolve()
    return (
        (place / target.name).relative_to(root).as_posix() if place.is_relative_to(root) else None
    )


def _responses(stages: Sequence[Mapping[str, str]], store: Store) -> dict[str, Path]:
    """Folder of every stage with answers, scores or verdicts, by its name; content verified.

    Raises:
        UserError: one is no longer in the store, or is corrupt.
    """
    from alignbench.store import Corrupt

    folders = {}
    for stage in stages:
        kind = stage["stage"].partition("/")[0]
        if kind not in ("generate", "score", "judge"):
            continue
        try:
            found = store.read(kind, stage["key"])
        except Corrupt as error:
            raise UserError(f"{error}; run the recipe again to make it anew") from error
        if found is None:
            raise UserError(
                f"responses of {stage['stage']} are not in the store {store.root}; "
                f"set ALIGNBENCH_STORE to the store of the run, or run the recipe again"
            )
        folders[stage["stage"]] = found.folder
    return folders
