"""``alignbench doctor``."""

from __future__ import annotations

from pathlib import Path

import click

from alignbench.cli.common import make_console, show_table


@click.command("doctor")
def command() -> None:
    """Show what this machine has for a run."""
    from alignbench import machine
    from alignbench.run_folder import store_root

    rows = machine.facts(store_root(Path("runs") / "any"))
    usable, why = machine.cuda()
    automatic = "gpu, where the recipe's model can be had" if usable else f"cpu ({why})"
    show_table(make_console(), (), [*rows, ("--profile auto", automatic)])
