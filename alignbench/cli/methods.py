"""``alignbench methods``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from alignbench.cli.common import make_console, say, show_table

if TYPE_CHECKING:
    from rich.console import Console


@click.group("methods", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List the methods, or show one with its options."""
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
