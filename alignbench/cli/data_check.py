"""``alignbench data check``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignbench.cli.common import make_console, say, show_table
from alignbench.errors import Exit, UserError

if TYPE_CHECKING:
    from alignbench.data.quality import Figures
    from alignbench.recipe.data_sections import ExternalData, SandboxData
    from alignbench.recipe.document import Node, Problems

UNKNOWN = "–"
WRITE = {"--column": "OURS=THEIRS, such as prompt=question", "--set": "KEY=VALUE, such as seed=1"}


@click.command("check")
@click.argument("target", metavar="PATH|RECIPE")
@click.option("--source", metavar="NAME", help="What PATH is: hh_rlhf, open_assistant, ...")
@click.option(
    "--column", "columns", multiple=True, metavar="OURS=THEIRS", help="For table: prompt=question."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the recipe (data.seed=1), or of PATH's section data (seed=1). Repeatable.",
)
@click.option("--profile", default="auto", show_default=True, help="Profile of the recipe.")
@click.option("--tokenizer", type=click.Path(path_type=Path), help="Folder: lengths in tokens too.")
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def command(
    target: str,
    source: str | None,
    columns: tuple[str, ...],
    settings: tuple[str, ...],
    profile: str,
    tokenizer: Path | None,
    as_json: bool,
) -> int:
    """Say what a data source holds, and what is wrong with it.

    \b
    alignbench data check pairs.jsonl --source preference
    alignbench data check recipes/own_model.yaml

    PATH is a file, a folder, or a name on the Hugging Face hub. Exit code 2: a run would refuse it.
    """
    from alignbench.data.quality import inspect

    config = (
        _section(target, source, columns, settings)
        if source
        else _of_recipe(Path(target), profile, columns, settings)
    )
    count = None if tokenizer is None else _counter(tokenizer)
    found, dataset, problems = _read(config)
    figures = {"source": config.source, **inspect(found, dataset, count)}
    figures["problems"] = [*problems, *figures["problems"]]
    if as_json:
        click.echo(json.dumps(figures, indent=1, sort_keys=True))
    else:
        _show(figures)
    return Exit.BAD_INPUT if figures["problems"] else Exit.OK


def _section(
    path: str, source: str, columns: Sequence[str], settings: Sequence[str]
) -> ExternalData:
    """The section `data` that the options amount to, by the rules of recipes.

    Raises:
        UserError: everything that is wrong with the options.
    """
    from pydantic import ValidationError

    from alignbench.errors import nearest, printable
    from alignbench.recipe.check import report
    from alignbench.recipe.data_sections import SOURCES
    from alignbench.recipe.document import Node, Problems, merge

    if source not in SOURCES:
        raise UserError(
            f'--source: "{printable(source)}" is not known{nearest(source, SOURCES)}; one of: '
            f"{', '.join(SOURCES)}"
        )
    if columns and source != "table":
        raise UserError("--column is for --source table only")
    problems = Problems()
    node = Node({"source": Node(source, "--source"), "path": Node(path, "PATH")}, "--source")
    for option, given in (("--column", columns), ("--set", settings)):
        for text in given:
            node = merge(node, _option(option, text, problems))
    section: Any = None
    try:
        section = SOURCES[source].model_validate(node.plain())
    except ValidationError as error:
        report(error, SOURCES[source], node, (), problems)
    problems.stop()
    checked: ExternalData = section
    return checked


def _option(option: str, text: str, problems: Problems) -> Node:
    """``OURS=THEIRS`` of --column, or ``KEY.KEY=VALUE`` of --set, as what it adds to a section."""
    from alignbench.recipe.document import Node, parse_value, shown

    name, equals, value = text.partition("=")
    place = f"{option} {name}"
    column = option == "--column"
    keys = ["columns", name] if column else name.split(".")
    if not equals or not value.strip() or not all(keys):
        problems.add(f"{option} {shown(text)}", (), f"write {WRITE[option]}")
        return Node({}, place)
    # A column's name is text, whatever YAML would make of it.
    below = Node(value, place) if column else parse_value(value, place, problems)
    for key in reversed(keys):
        below = Node({key: below}, place)
    return below


def _of_recipe(
    path: Path, profile: str, columns: Sequence[str], settings: Sequence[str]
) -> SandboxData | ExternalData:
    """The data of a recipe, in one of its profiles.

    Raises:
        UserError: no recipe, or one that is wrong.
    """
    if path.suffix.lower() not in (".yaml", ".yml"):
        from alignbench.recipe.data_sections import SOURCES

        raise UserError(
            f"--source is needed, to say what {path} is; one of: {', '.join(SOURCES)} (or name a "
            "recipe, a .yaml file)"
        )
    if columns:
        raise UserError("--column is for --source table only; a recipe has data.columns")
    from alignbench.recipe.load import load

    return load(path, profile, settings).recipe.data


def _read(config: SandboxData | ExternalData) -> tuple[Any, Any, list[str]]:
    """What the source holds, the splits it is dealt to, and why it cannot be."""
    from alignbench.data.quality import found_in
    from alignbench.recipe.data_sections import AlpacaData, SandboxData, ShareGptData

    if isinstance(config, SandboxData):
        from alignbench.sandbox import dataset as sandbox

        built = sandbox.build(config)
        return found_in(built.rows), built, []
    from alignbench.data import sources

    found = sources.find(config)
    if isinstance(config, AlpacaData | ShareGptData):
        # Not dealt: as data.sft it is right, and as data.source the recipe says what is wrong.
        return found, None, [] if found.examples else ["no usable example"]
    try:
        return found, sources.build_from(config, found), []
    except UserError as error:
        return found, None, list(error.problems)


def _counter(folder: Path) -> Callable[[str], int]:
    """Tokens of a text by the tokenizer of a folder."""
    from alignbench.models.load import load_tokenizer

    tokenizer = load_tokenizer(folder)
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _number(value: float | None, digits: int = 1) -> str:
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def _show(figures: Figures) -> None:
    console = make_console()
    counts = figures["counts"]
    say(
        console,
        f"{figures['source']}: {counts['pairs']:,} pairs, {counts['examples']:,} examples, "
        f"{counts['prompts']:,} different prompts; {counts['skipped']:,} skipped",
    )
    for reason, count in figures["skipped"].items():
        say(console, f"  skipped: {count:,} {reason}")
    for fact, count in figures["facts"].items():
        say(console, f"  {fact}: {count:,}")
    console.print()
    rows = [
        (part, unit, *(_number(spread[name]) for name in ("mean", "median", "p95", "longest")))
        for part, units in figures["lengths"].items()
        for unit, spread in units.items()
    ]
    show_table(console, ("length of", "in", "mean", "median", "95 %", "longest"), rows)
    console.print()
    show_table(console, (), list(_findings(figures)))
    for note in figures["notes"]:
        say(console, f"note: {note}")
    for problem in figures["problems"]:
        say(console, f"problem: {problem}")
    if not figures["problems"]:
        where = "" if figures["splits"] else " as data.sft"
        say(console, f"A run would take this data{where}.")


def _findings(figures: Figures) -> Iterator[tuple[str, str]]:
    twice, bias, agree = (figures[name] for name in ("duplicates", "length_bias", "agreement"))
    yield "exact duplicates (count once)", f"{twice['exact']:,}"
    yield "records of a pair seen before", f"{twice['repeated_pairs']:,}"
    yield "pairs labelled both ways", f"{twice['contradicting']:,}"
    yield "examples seen before", f"{twice['repeated_examples']:,}"
    yield "prompts with several pairs", f"{twice['prompts_with_several_pairs']:,}"
    interval = ""
    if bias["low"] is not None:
        interval = f" [{bias['low']:.1f}, {bias['high']:.1f}]"
    yield (
        "longer answer chosen",
        f"{_number(bias['value'])} %{interval} of {bias['n']:,} prompts (50 = no bias)"
        if bias["n"]
        else UNKNOWN,
    )
    yield (
        "annotators",
        f"unanimous {_number(agree['unanimous'])} %, Krippendorff's alpha "
        f"{_number(agree['alpha'], 2)}, on {agree['pairs']:,} pairs with several votes"
        if agree["pairs"]
        else f"{UNKNOWN} (one vote a pair)",
    )
    if figures["splits"]:
        sizes = ", ".join(f"{name} {count:,}" for name, count in figures["splits"].items())
        yield "splits", sizes
        leaks = sum("split" in problem for problem in figures["problems"])
        yield "prompts in two splits", "see below" if leaks else "none"
    else:
        yield "splits", UNKNOWN
