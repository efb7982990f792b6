"""``alignbench human export`` and ``alignbench human import``."""

from __future__ import annotations

import os
import random
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignbench.cli.common import finished_run, make_console, say, show_table, warn

if TYPE_CHECKING:
    from rich.console import Console

    from alignbench.human.form import Form
    from alignbench.human.items import Answers, Item

FOLDER = "human"
LABELS = "labels.jsonl"
UNKNOWN = "–"


@click.group("human")
def command() -> None:
    """Ask people about the answers of a run."""


@command.command("export")
@click.argument("run")
@click.option("--out", type=click.Path(path_type=Path), help="Form [human/form-….html of the run].")
@click.option("--items", type=click.IntRange(min=1), default=40, show_default=True, help="Pairs.")
@click.option("--models", metavar="A,B", help="Rows to compare with SFT [all methods].")
@click.option("--between", is_flag=True, help="Compare these rows with each other, too.")
@click.option("--gold", metavar="N|FILE", default="5", help="Gold questions to mix in [5].")
@click.option("--ratings/--no-ratings", default=True, help="Also ask for 3H ratings [yes].")
@click.option(
    "--annotators", type=click.IntRange(min=1), default=1, help="Forms to write [1, for everybody]."
)
@click.option(
    "--overlap",
    type=click.FloatRange(0, 1),
    default=1.0,
    help="Share of the pairs that all forms have in common [1].",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the draw of pairs [0].")
@click.option("--key", type=click.Path(path_type=Path), help="Key [human/key-….json of the run].")
def export_command(
    run: str,
    out: Path | None,
    items: int,
    models: str | None,
    between: bool,
    gold: str,
    ratings: bool,
    annotators: int,
    overlap: float,
    seed: int,
    key: Path | None,
) -> None:
    """Write a blinded form that people fill in with a browser, offline.

    Send out the HTML file, and nothing else: who wrote what, and which questions are gold ones, is
    in the key, which stays in the run's folder. RUN is a run folder, or its name below runs/.
    """
    from alignbench.human.form import SHORT, blind, share_out, write_key
    from alignbench.human.items import choose, comparisons
    from alignbench.human.stored import answers_digest

    folder, record = finished_run(run)
    found = _answers(folder, record)
    rng = random.Random(seed)
    pairs = comparisons(found, _names(models), between)
    shared = round(overlap * items)
    drawn = choose(found, pairs, shared + annotators * (items - shared), rng)
    checks = _gold(found, gold, drawn, rng)
    secret = secrets.token_bytes(32)
    forms = [
        blind([*own, *checks], ratings, secret, number)
        for number, own in enumerate(share_out(drawn, items, annotators, shared))
    ]
    name = forms[0].digest[:SHORT]
    key = key if key is not None else folder / FOLDER / f"key-{name}.json"
    out = out if out is not None else folder / FOLDER / f"form-{name}.html"
    targets = _targets(out, annotators)
    _check_free([key, *targets])
    write_key(key, answers_digest(record), secret, seed, forms)
    _write_forms(targets, forms)
    console = make_console()
    compared = ", ".join(" : ".join(pair) for pair in pairs)
    say(console, f"{items} pairs of answers ({compared}) and {len(checks)} gold questions")
    for target in targets:
        say(console, f"Form: {target}")
    say(console, f"Key, not to be sent out: {key}")
    say(console, f"Then: alignbench human import {run} ANSWERS...")


@command.command("import")
@click.argument("run")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILES...", type=click.Path(path_type=Path)
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Key of a form, where it is not in the run's folder. Repeatable.",
)
def import_command(run: str, files: tuple[Path, ...], keys: tuple[Path, ...]) -> None:
    """Add what people answered to the results and the report of a run.

    Give all files that came back: an import replaces the one before. Nothing is trained or
    sampled again, and neither the certificate nor any value of the table changes.
    """
    from alignbench import run_folder
    from alignbench.errors import UserError
    from alignbench.human.answers import labels, read_filled
    from alignbench.human.form import read_keys
    from alignbench.human.remake import add_labels
    from alignbench.human.stored import answers_digest
    from alignbench.results import load
    from alignbench.store import Store

    folder, record = finished_run(run)
    found = sorted((folder / FOLDER).glob("key-*.json"))
    forms = read_keys(found, keys, answers_digest(record))
    if not forms:
        raise UserError(
            f"{folder / FOLDER}: no key of a form; `alignbench human export` writes one, or name "
            "it with --key"
        )
    lines = labels(read_filled(files, forms))
    path = folder / FOLDER / LABELS
    # The labels of the last import stay until these have been taken in.
    draft = path.with_name(f".{os.getpid()}.{LABELS}")
    store = Store(run_folder.store_root(folder))
    try:
        _write_labels(draft, lines)
        add_labels(folder, record, store, path, draft, _note)
    finally:
        with suppress(OSError):
            draft.unlink()
    console = make_console()
    _show(console, load(folder / "results.json"))
    say(console, f"Labels: {path}")
    say(console, f"Report: {folder / 'report.html'}")
    say(
        console,
        "To run the recipe again makes the results without people; "
        f"--set human_labels={path} keeps them.",
    )


def _write_labels(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    from alignbench.errors import UserError
    from alignbench.files import write_jsonl

    try:
        path.parent.mkdir(exist_ok=True)
        write_jsonl(path, lines)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def _note(kind: str, message: str) -> None:
    warn(f"{kind}: {message}")


def _answers(folder: Path, record: Mapping[str, Any]) -> Answers:
    from alignbench import run_folder
    from alignbench.human.items import read_answers
    from alignbench.human.stored import folders, stored
    from alignbench.results import load
    from alignbench.store import Store

    store = Store(run_folder.store_root(folder))
    inputs = folders(stored(record, store, ("generate", "score", "judge")))
    return read_answers(inputs, load(folder / "results.json"))


def _names(models: str | None) -> list[str] | None:
    if models is None:
        return None
    return [name.strip() for name in models.split(",") if name.strip()]


def _gold(found: Answers, gold: str, used: Sequence[Item], rng: random.Random) -> list[Item]:
    """Gold questions: so many, or those of a file."""
    from alignbench.human.gold import gold_items, read_gold

    if gold.isdecimal():
        return gold_items(found, int(gold), used, rng) if int(gold) else []
    return read_gold(Path(gold))


def _targets(out: Path, annotators: int) -> list[Path]:
    """One file a form: ``form-1.html`` and so on where there are several."""
    if annotators == 1:
        return [out]
    return [out.with_name(f"{out.stem}-{n}{out.suffix}") for n in range(1, annotators + 1)]


def _check_free(paths: Sequence[Path]) -> None:
    """A form that is out, and above all its key, is not written over; nor one by the other."""
    from alignbench.errors import UserError

    problems = [
        f"{path}: exists already; choose another name"
        for path in paths
        if path.exists() or path.is_symlink()
    ]
    places = Counter(path.resolve() for path in paths)
    if max(places.values()) > 1:
        problems.append("--key and --out: name the same file; the key must not be in a form")
    if problems:
        raise UserError(*problems)


def _write_forms(targets: Sequence[Path], forms: Sequence[Form]) -> None:
    from alignbench.errors import UserError
    from alignbench.files import write_atomic
    from alignbench.human.form import render_form

    for target, form in zip(targets, forms, strict=True):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(target, render_form(form))
        except OSError as error:
            raise UserError(f"{target}: cannot be written: {error.strerror}") from error


def _show(console: Console, results: Mapping[str, Any]) -> None:
    """What people said, as tables."""
    from alignbench.errors import printable
    from alignbench.report.human import sentences, tables

    human = results["human"]
    for table in tables(human, results["statistics"]["confidence"]):
        rows = [[printable(cell) for cell in line] for line in table.rows]
        show_table(console, table.headers, rows)
        say(console, table.caption)
        console.print()
    for sentence in sentences(human):
        say(console, sentence)
    if human["unused"]:
        say(console, f"{human['unused']} labels fit no two answers of this run.")
