"""``alignbench data``."""

from __future__ import annotations

import click

from alignbench.cli.common import make_console

SOURCES = ("sandbox",)


@click.group("data")
def command() -> None:
    """Look at the data that recipes can use."""


@command.command("show")
@click.argument("source")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--per-family", type=click.IntRange(1, 100), default=1, show_default=True, help="Prompts each."
)
def show(source: str, seed: int, per_family: int) -> None:
    """Print samples of SOURCE (sandbox) with their true scores, so that a person can judge them."""
    from alignbench.errors import UserError, nearest

    if source not in SOURCES:
        known = ", ".join(SOURCES)
        raise UserError(f'unknown data source "{source}"{nearest(source, SOURCES)}; known: {known}')
    from alignbench.sandbox.show import render

    render(make_console(), seed, per_family)
