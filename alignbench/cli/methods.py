"""``alignbench methods``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alignbench.cli.common import make_console, say, show_table

if TYPE_CHECKING:
    from rich.console import Console

    from alignbench.conformance.verdict import Verdict


@click.group("methods", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List the methods; show, test or start one."""
    if ctx.invoked_subcommand is None:
        _list()


def _list() -> None:
    from alignbench.methods.registry import describe

    rows = [
        (
            name,
            summary,
            ", ".join(needs),
            ", ".join(_default(key, option, schema) for key, option in _options(schema)),
        )
        for name, summary, needs, schema in describe()
    ]
    show_table(make_console(), ("method", "summary", "needs", "options"), rows)


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Show one method: what it needs, and its options with types, defaults and meaning."""
    from alignbench.errors import UserError, nearest
    from alignbench.methods.registry import describe

    described = {row[0]: row for row in describe()}
    if name not in described:
        known = ", ".join(described)
        raise UserError(f'unknown method "{name}"{nearest(name, described)}; known: {known}')
    _, summary, needs, schema = described[name]
    console = make_console()
    say(console, f"{name}: {summary}")
    say(console, f"Needs: {', '.join(needs) or 'nothing but the start model'}")
    _show_options(console, schema)


@command.command("test")
@click.argument("name")
@click.option(
    "--options",
    "settings",
    multiple=True,
    metavar="KEY=VALUE|FILE",
    help="Options to try it with, laid over its `example`. Repeatable.",
)
def test(name: str, settings: tuple[str, ...]) -> int:
    """Check on a tiny model that a method keeps the contract.

    NAME is a method's name or package.module:Class. Takes about half a minute; exit code 1 if a
    check fails.
    """
    from alignbench.conformance.options import given_options
    from alignbench.errors import Exit
    from alignbench.worker import environment

    options = given_options(settings)
    # Before torch is imported: quiet, one thread, no network, as a worker has it.
    os.environ.update(environment(offline=True))
    from alignbench.conformance.run import conformance

    console = make_console()

    def told(verdict: Verdict) -> None:
        say(console, f"{verdict.status:4}  {verdict.check:22}  {verdict.seen}")

    verdicts = conformance(name, options, told)
    count = {
        status: sum(v.status == status for v in verdicts) for status in ("pass", "fail", "n/a")
    }
    say(
        console,
        f"{name}: {count['pass']} passed, {count['fail']} failed, {count['n/a']} not applicable",
    )
    return Exit.REGRESSION if count["fail"] else Exit.OK


@command.command("new")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to make [alignbench-<name>].")
def new(name: str, out: Path | None) -> None:
    """Write a small installable package with a method to start from."""
    from alignbench.conformance.template import write

    folder = out if out is not None else Path(f"alignbench-{name.replace('_', '-')}")
    files = write(name, folder)
    console = make_console()
    for path in files:
        say(console, f"wrote {path}")
    say(console, f"Next:  pip install -e {folder} && alignbench methods test {name}")


def _show_options(console: Console, schema: Mapping[str, Any]) -> None:
    required = schema.get("required", ())
    rows = [
        (
            key,
            _type(option),
            "required" if key in required else json.dumps(option.get("default")),
            str(option.get("description", "")),
        )
        for key, option in _options(schema)
    ]
    show_table(console, ("option", "type", "default", "meaning"), rows)


def _options(schema: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return list(schema.get("properties", {}).items())


def _default(key: str, option: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    required = key in schema.get("required", ())
    return f"{key} (required)" if required else f"{key}={json.dumps(option.get('default'))}"


def _type(option: Mapping[str, Any]) -> str:
    """A JSON-schema type in one short text, bounds included."""
    if "enum" in option:
        return " | ".join(json.dumps(value) for value in option["enum"])
    if "anyOf" in option:
        return " or ".join(_type(each) for each in option["anyOf"])
    text = str(option.get("type", "any"))
    signs = (
        ("exclusiveMinimum", ">"),
        ("minimum", ">="),
        ("exclusiveMaximum", "<"),
        ("maximum", "<="),
    )
    bounds = [f"{sign} {option[name]:g}" for name, sign in signs if name in option]
    return " ".join([text, *bounds])
