"""``alignbench check``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alignbench.cli.common import make_console, say, show_table, warn
from alignbench.errors import Exit, UserError, printable
from alignbench.files import write_atomic

if TYPE_CHECKING:
    from alignbench.gate import Outcome
    from alignbench.gate.source import Run
    from alignbench.leaderboard.schema import Entry

WIDE = 110
"""Columns that the table needs; where there are fewer, each comparison takes three lines."""


@click.command("check")
@click.argument("run")
@click.option(
    "--baseline",
    required=True,
    type=click.Path(path_type=Path),
    help="Published entry, or a folder with one of the run's recipe and profile.",
)
@click.option(
    "--tolerance",
    "tolerances",
    multiple=True,
    metavar="METRIC=AMOUNT",
    help="Difference that does not matter, such as reward_gold=0.5 or training=10%. Repeatable.",
)
@click.option(
    "--deciding",
    metavar="A,B",
    help="Metrics that must be decided, else exit 3; `none` [reward_gold,win_rate_vs_sft].",
)
@click.option(
    "--retrained",
    is_flag=True,
    help="Accept start and reward weights made anew by the same settings (another machine).",
)
@click.option("--all", "show_all", is_flag=True, help="Print every comparison.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write JUnit XML.")
@click.option("--summary", type=click.Path(path_type=Path), help="Append Markdown to a file.")
@click.option("--update", is_flag=True, help="Make the run the baseline, after showing a diff.")
@click.option("--force", is_flag=True, help="With --update: even where the check does not pass.")
def command(
    run: str,
    baseline: Path,
    tolerances: tuple[str, ...],
    deciding: str | None,
    retrained: bool,
    show_all: bool,
    as_json: bool,
    junit: Path | None,
    summary: Path | None,
    update: bool,
    force: bool,
) -> int:
    """Check a run against a published one: is anything worse?

    RUN is a run folder, or its name below runs/. Scores, training signals and amounts spent of
    every row are compared, in view of what seeds and prompts vary by chance; docs/ci.md says how.

    Ends with 0 where nothing is worse, 1 on a regression, 2 where the two cannot be compared, 3
    where something that must be decided was not, 4 where a stage of the run failed.
    """
    files = Files(junit, summary)
    try:
        if force and not update:
            raise UserError("--force: belongs to --update")
        asked = Asked(tolerances, deciding, retrained)
        return _check(run, baseline, asked, files, (show_all, as_json), (update, force))
    except UserError as error:
        files.write_error(str(error))
        raise


@dataclass(frozen=True)
class Asked:
    """What the options say of the comparison."""

    tolerances: tuple[str, ...]
    deciding: str | None
    retrained: bool


def _check(
    run: str,
    baseline: Path,
    asked: Asked,
    files: Files,
    shown: tuple[bool, bool],
    updating: tuple[bool, bool],
) -> int:
    """Compare, tell, and update; the exit code.

    Args:
        shown: ``--all`` and ``--json``.
        updating: ``--update`` and ``--force``.
    """
    from alignbench.gate import Tolerances, compare_entries
    from alignbench.gate.source import find_baseline, load_run
    from alignbench.gate.tolerance import check_metrics, metric_names
    from alignbench.leaderboard.entry import load

    update, force = updating
    known = Tolerances.parse(asked.tolerances)
    deciding = metric_names(asked.deciding)
    check_metrics(deciding or ())
    fresh = load_run(run, warn)
    path = find_baseline(baseline, fresh.entry)
    old = load(path)
    try:
        names = (printable(path.name), printable(fresh.folder.name))
        outcome = compare_entries(old, fresh.entry, known, deciding, asked.retrained, names)
    except UserError as error:
        if not (update and force):
            raise
        warn(str(error))
        return _update(path, old, fresh)
    _show(outcome, *shown)
    # What the check found is worth more to a caller than that its copy could not be written.
    unwritten = Exit.OK if files.write(outcome) else Exit.BAD_INPUT
    if not update:
        return outcome.exit_code or unwritten
    if outcome.exit_code and not force:
        warn("The baseline stays: the check did not pass. If this is meant: --update --force.")
        return outcome.exit_code
    return _update(path, old, fresh) or unwritten


def _show(outcome: Outcome, show_all: bool, as_json: bool) -> None:
    from alignbench.gate import render

    if as_json:
        click.echo(json.dumps(render.plain(outcome), indent=1))
        return
    console = make_console()
    rows = [render.row(f) for f in (outcome.findings if show_all else render.important(outcome))]
    if rows and console.width >= WIDE:
        show_table(console, render.HEADERS, rows)
    else:
        for verdict, row, what, before, after, difference, interval, tolerance in rows:
            say(console, f"{verdict}: {row}, {what}")
            say(console, f"    {before} -> {after}, difference {difference} ({interval}),")
            say(console, f"    tolerance {tolerance}")
    for line in render.explanation(outcome):
        say(console, line)
    say(console, outcome.sentence)


@dataclass(frozen=True)
class Files:
    """What CI reads: written whatever comes of the check, or CI shows what an earlier one found."""

    junit: Path | None
    summary: Path | None

    def write(self, outcome: Outcome) -> bool:
        """Whether all of an outcome could be written."""
        from alignbench.gate import render

        return self._write(lambda: render.junit(outcome), lambda: render.markdown(outcome))

    def write_error(self, problem: str) -> None:
        """Say that there was no check, and why."""
        from alignbench.gate import render

        self._write(lambda: render.error_junit(problem), lambda: render.error_markdown(problem))

    def _write(self, junit: Callable[[], str], summary: Callable[[], str]) -> bool:
        problems = []
        if self.junit is not None:
            try:
                write_atomic(self.junit, junit())
            except OSError as error:
                problems.append(f"{self.junit}: cannot be written: {error.strerror}")
        if self.summary is not None:
            try:
                with self.summary.open("a", encoding="utf-8") as file:
                    file.write(summary())
            except OSError as error:
                problems.append(f"{self.summary}: cannot be written: {error.strerror}")
        for problem in problems:
            warn(problem)
        return not problems


def _update(path: Path, old: Entry, fresh: Run) -> int:
    """Show what changes, and put the run's entry in the baseline's place."""
    from alignbench.gate.source import changes, replace_baseline

    lines = changes(old, fresh.entry)
    for line in lines or ["nothing changes"]:
        warn(f"  {line}")
    written = replace_baseline(path, fresh)
    warn(f"Baseline: {written}" + (f" (in place of {path.name})" if written != path else ""))
    return Exit.OK
