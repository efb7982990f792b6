"""``alignbench data``."""

from __future__ import annotations

import importlib

import click

from alignbench.cli.common import make_console

SHOWN = ("sandbox",)
ELSEWHERE = {"check": "data_check", "collect": "data_collect"}


class _Commands(click.Group):
    """`check` and `collect` are in files of their own, imported when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["show", *ELSEWHERE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"alignbench.cli.{ELSEWHERE[cmd_name]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from alignbench.errors import UserError, nearest

        known = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in known:
            near = nearest(args[0], known)
            raise UserError(f'unknown command "data {args[0]}"{near}; known: {", ".join(known)}')
        return super().resolve_command(ctx, args)


@click.group("data", cls=_Commands)
def command() -> None:
    """Look at the data that recipes can use, check it, or collect it."""


@command.command("show")
@click.argument("source")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--per-family", type=click.IntRange(1, 100), default=1, show_default=True, help="Prompts each."
)
def show(source: str, seed: int, per_family: int) -> None:
    """Print samples of SOURCE (sandbox) with their true scores, so that a person can judge them."""
    from alignbench.errors import UserError, nearest

    if source not in SHOWN:
        known = ", ".join(SHOWN)
        raise UserError(f'unknown data source "{source}"{nearest(source, SHOWN)}; known: {known}')
    from alignbench.sandbox.show import render

    render(make_console(), seed, per_family)
