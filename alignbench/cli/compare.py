"""``alignbench compare``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignbench.cli.common import make_console, say, show_table, warn
from alignbench.errors import Exit, UserError, printable

if TYPE_CHECKING:
    from rich.console import Console

    from alignbench.compare import Comparison, Line, PromptDifference

LARGEST = 256 * 2**20
SHOWN_PROMPTS = 20
VALUE_WIDTH = 34
DIGEST_WIDTH = 12
RULES = {"equal": "must agree", "apart": "sets apart", "free": "may differ"}
_DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Side:
    """One of the two runs.

    Attributes:
        name: as the user typed it.
        title: recipe and profile.
        certificate: of its results.json.
        starts: beginnings of its evaluation prompts, by (id, digest); empty where unknown.
    """

    name: str
    title: str
    certificate: Mapping[str, Any]
    starts: Mapping[tuple[str, str], str]


@click.command("compare")
@click.argument("a")
@click.argument("b")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def command(a: str, b: str, as_json: bool) -> int:
    """Say whether two runs may share a table.

    A and B are run folders, their names below runs/, or results.json files. Their certificates
    are compared field by field; what must agree, and why, is in docs/certificate.md.

    Ends with 0 where they may share a table and with 1 where they are refused (like diff: the
    comparison was made, and the answer is no); 2 is for what cannot be compared.
    """
    from alignbench.compare import compare

    sides = _read(a), _read(b)
    found = compare(sides[0].certificate, sides[1].certificate)
    if as_json:
        click.echo(json.dumps(_plain(found, *sides), indent=1))
    else:
        _show(make_console(), found, *sides)
    return Exit.REGRESSION if found.refusals else Exit.OK


def _read(name: str) -> Side:
    """Load one side; a finished run's files are verified first.

    Raises:
        UserError: no run, an unfinished or changed one, or a file that is no results.json.
    """
    import os

    from alignbench import compare, run_record
    from alignbench.results import load
    from alignbench.run_folder import find_run

    path = Path(name)
    if not os.path.isfile(name):
        path = find_run(name) / "results.json"
    elif path.name == run_record.RECORD:
        path = path.parent / "results.json"
    if path.name == "results.json" and os.path.lexists(path.parent / run_record.RECORD):
        _verify(path.parent)
    else:
        warn(f"{name}: no {run_record.RECORD} beside it, so it is compared as it is, not verified")
    if path.is_file() and path.stat().st_size > LARGEST:
        raise UserError(f"{path}: has {path.stat().st_size} bytes, too many for a results.json")
    try:
        results = load(path)
        certificate = compare.check(results["certificate"])
    except RecursionError as error:
        raise UserError(f"{path}: is nested too deeply for a results.json") from error
    except UserError as error:
        lines = [str(line) for line in error.problems]
        named = [line if str(path) in line else f"{path}: {line}" for line in lines]
        raise UserError(*named) from error
    title = f"recipe {results['recipe']['name']}, profile {results['profile']}"
    return Side(name, title, certificate, _starts(path.with_name("certificate.json")))


def _verify(folder: Path) -> None:
    from alignbench import run_record

    record = run_record.load_record(folder)
    if record["state"] != "finished":
        raise UserError(
            f"{folder}: the run is {record['state']}; run its recipe again to finish it"
        )
    for warning in run_record.verify(folder, record):
        warn(warning)


def _starts(path: Path) -> dict[tuple[str, str], str]:
    """How each prompt begins, by certificate.json; nothing where there is no usable one.

    Whose prompts these are, the digests say: a file of another run does no harm.
    """
    try:
        if path.stat().st_size > LARGEST:
            return {}
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            (str(prompt["id"]), str(prompt["sha256"])): str(prompt["start"])
            for prompt in content["eval_prompts"]
        }
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _show(console: Console, found: Comparison, a: Side, b: Side) -> None:
    for letter, side in (("A", a), ("B", b)):
        say(console, f"{letter}: {side.name} ({side.title})")
    rows = [
        (
            line.field,
            RULES[line.rule],
            line.status if line.unknown_in is None else f"unknown in {line.unknown_in}",
            *_values(line),
        )
        for line in found.lines
    ]
    show_table(
        console,
        ("field", "rule", "A and B", "A", "B"),
        [[printable(cell) for cell in row] for row in rows],
    )
    for apart in found.apart:
        say(console, f'Set apart: row "{apart.row}" {apart.reason}')
    if not found.refusals:
        say(console, "May share a table" + (", those rows set apart." if found.apart else "."))
        return
    say(console, "Refused: rows of A and B must not share a table.")
    for line in found.refusals:
        what = line.status if line.unknown_in is None else f"is unknown in {line.unknown_in}"
        say(console, f"- {line.field} {what}: {line.reason}")
        if line.field == "eval_prompts" and line.status == "differs":
            _show_prompts(console, found, a, b)


def _show_prompts(console: Console, found: Comparison, a: Side, b: Side) -> None:
    if not found.prompts:
        say(console, "    the same texts, in another order or under other ids")
    for prompt in found.prompts[:SHOWN_PROMPTS]:
        said = "; ".join(
            f"{letter}: {_quoted(side, prompt.id, digest)}"
            for letter, side, digest in (("A", a, prompt.a), ("B", b, prompt.b))
        )
        say(console, f"    prompt {prompt.id}: {said}")
    if len(found.prompts) > SHOWN_PROMPTS:
        more = len(found.prompts) - SHOWN_PROMPTS
        say(console, f"    and {more} more prompts (--json names all)")


def _quoted(side: Side, name: str, digest: str | None) -> str:
    """How a prompt begins, in quotes; its digest where the text is not known."""
    if digest is None:
        return "has no such prompt"
    start = side.starts.get((name, digest))
    if start is None:
        return f"text unknown (sha256 {digest[:DIGEST_WIDTH]})"
    return f'"{start[:80]}"'


def _values(line: Line) -> tuple[str, str]:
    """Both values in short; B's is left out where it is the same."""
    if line.field == "eval_prompts":
        a, b = (_count(value) for value in (line.a, line.b))
    else:
        a, b = _short(line.a), _short(line.b)
    if line.status == "unknown":
        unknown = line.unknown_in or ""
        return "–" if "A" in unknown else a, "–" if "B" in unknown else b
    return a, "" if line.status == "agrees" else b


def _count(value: Any) -> str:
    return f"{len(value)} prompts" if isinstance(value, list) else "–"


def _short(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) >= 2 * DIGEST_WIDTH and _DIGITS.issuperset(text):
        return text[:DIGEST_WIDTH]
    return text if len(text) <= VALUE_WIDTH else f"{text[: VALUE_WIDTH - 1]}…"


def _plain(found: Comparison, a: Side, b: Side) -> dict[str, Any]:
    """The comparison for machines."""
    return {
        "a": a.name,
        "b": b.name,
        "may_share_a_table": not found.refusals,
        "refused_for": [line.field for line in found.refusals],
        "fields": [asdict(line) for line in found.lines if line.field != "eval_prompts"],
        "eval_prompts": [_plain_prompt(prompt, a, b) for prompt in found.prompts],
        "set_apart": [asdict(apart) for apart in found.apart],
    }


def _plain_prompt(prompt: PromptDifference, a: Side, b: Side) -> dict[str, Any]:
    return {
        "id": prompt.id,
        **{
            letter: None
            if digest is None
            else {"sha256": digest, "start": side.starts.get((prompt.id, digest))}
            for letter, side, digest in (("a", a, prompt.a), ("b", b, prompt.b))
        },
    }
