"""What several commands share: the options that choose a recipe, and the console."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

    from alignbench.engines.choice import Chosen
    from alignbench.plan import PlannedStage
    from alignbench.recipe.load import LoadedRecipe
    from alignbench.recipe.schema import Recipe
    from alignbench.store import Store

PLAIN_WIDTH = 160
F = TypeVar("F", bound=Callable[..., Any])


def recipe_options(command: F) -> F:
    """The argument RECIPE and the options that change what it means."""
    decorators = (
        click.argument("recipe", type=click.Path(path_type=Path)),
        click.option("--out", type=click.Path(path_type=Path), help="Run folder [runs/<name>]."),
        click.option("--profile", default="auto", show_default=True, help="Profile of the recipe."),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="KEY=VALUE",
            help="Change one setting, such as sft.epochs=2. Repeatable.",
        ),
        click.option("--methods", metavar="A,B", help="Only these methods of the recipe."),
        click.option("--seeds", metavar="0,1", help="These training seeds."),
    )
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


@dataclass(frozen=True)
class Prepared:
    """A validated recipe with its plan."""

    loaded: LoadedRecipe
    out: Path
    store: Store
    planned: Sequence[PlannedStage]
    engine: Chosen


def prepare(
    recipe: Path,
    out: Path | None,
    profile: str,
    settings: Sequence[str],
    methods: str | None,
    seeds: str | None,
) -> Prepared:
    """Load, validate and plan; nothing is written.

    Raises:
        UserError: anything wrong with the recipe or the options.
    """
    from alignbench.engines.choice import choose
    from alignbench.pipeline import build
    from alignbench.plan import plan
    from alignbench.recipe.load import load
    from alignbench.run_folder import store_root
    from alignbench.store import Store

    loaded = load(recipe, profile, settings, methods, seeds)
    out = out if out is not None else Path("runs") / loaded.recipe.name
    store = Store(store_root(out))
    engine = choose(loaded.recipe.engine)
    stages = build(loaded.recipe, [loaded.profile.sentence(), engine.sentence()])
    return Prepared(loaded, out, store, plan(stages, store), engine)


def finished_run(run: str) -> tuple[Path, Mapping[str, Any]]:
    """Folder and run.json of a finished run, every file of it verified.

    Args:
        run: a run folder, or its name below ``runs/``.

    Raises:
        UserError: no such run, an unfinished one, or one that was changed since.
    """
    from alignbench import run_folder, run_record
    from alignbench.errors import UserError

    folder = run_folder.find_run(run)
    record = run_record.load_record(folder)
    if record["state"] != "finished":
        raise UserError(
            f"{folder}: the run is {record['state']}; run its recipe again to finish it"
        )
    for warning in run_record.verify(folder, record):
        warn(warning)
    return folder, record


def make_console() -> Console:
    """The console for standard output; wide where its width is unknown, as in a pipe or a file.

    Without a terminal there are no control characters, whatever FORCE_COLOR asks for: what moves
    the cursor makes a CI log unreadable.
    """
    from rich.console import Console

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # for `cli.dispatch`; rich would exit with 1, a regression's code

    forced = None if sys.stdout.isatty() else False
    console = PipeConsole(highlight=False, force_terminal=forced)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = PipeConsole(highlight=False, force_terminal=forced, width=PLAIN_WIDTH)
    return console


def say(console: Console, text: str) -> None:
    """One line without markup, wrapped by the terminal only."""
    from alignbench.errors import printable

    console.print(printable(text), markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """One line on standard error, which leaves what a program reads alone."""
    from alignbench.errors import printable

    click.echo(printable(text), err=True)


def show_table(console: Console, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table; cells are shown as they are, without markup."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*headers, box=None, pad_edge=False, show_header=bool(headers))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def asked(recipe: Recipe) -> str:
    """How often a judge that costs time or money will be asked, at most; "" where it costs none."""
    from alignbench.evaluation import judge_questions

    questions = judge_questions(recipe)
    return f" The judge is asked {questions:,} questions at most." if questions else ""


def summary(planned: Sequence[PlannedStage]) -> str:
    """``38 stages: 12 in the store, 26 to run, about 8 min 10 s of work``."""
    from alignbench.progress import duration

    to_run = [item for item in planned if not item.cached]
    known = [item.seconds_estimate for item in to_run if item.seconds_estimate is not None]
    text = f"{len(planned)} stages: {len(planned) - len(to_run)} in the store, {len(to_run)} to run"
    if not known:
        return f"{text}, of unknown cost: none like them has run here" if to_run else text
    unknown = len(to_run) - len(known)
    and_more = f" and {unknown} of unknown cost" if unknown else ""
    return f"{text}, about {duration(sum(known))} of work{and_more}"
