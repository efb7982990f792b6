"""The command line: finds the command, runs it, turns errors into messages and exit codes.

One file per command, imported when it is asked for; what is slow to import, commands import when
they run.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from alignbench import __version__
from alignbench.errors import Exit, UserError, nearest, printable

COMMANDS = (
    "run",
    "plan",
    "show",
    "report",
    "compare",
    "export",
    "publish",
    "check",
    "score",
    "judge",
    "human",
    "methods",
    "data",
    "doctor",
)


class Commands(click.Group):
    """Each command is `command` of the module of its name in this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"alignbench.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest command for one that is unknown."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            near = nearest(args[0], COMMANDS)
            raise UserError(f'unknown command "{args[0]}"{near}; commands: {", ".join(COMMANDS)}')
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="alignbench", message="%(prog)s %(version)s")
def root() -> None:
    """Compare alignment methods on one starting model, one data set and one budget.

    Start with:  alignbench run recipes/smoke.yaml
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code (see `errors.Exit`)."""
    sys.exit(dispatch(arguments))


def dispatch(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. A bug keeps its traceback; a user's error is its message alone.

    Returns:
        The exit code.
    """
    try:
        code = root.main(
            args=list(arguments) if arguments is not None else None,
            prog_name="alignbench",
            standalone_mode=False,
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else Exit.OK
    except UserError as error:
        _say(f"alignbench: {error}")
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return Exit.BAD_INPUT
    except (KeyboardInterrupt, click.Abort):
        _say("alignbench: interrupted; finished stages are kept, the same command continues")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted; keep the interpreter's last flush quiet too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.BROKEN_PIPE
    except Exception:
        sys.excepthook(*sys.exc_info())
        _say("alignbench: this is a bug in alignbench; please report it with the lines above")
        return Exit.BUG


def _say(text: str) -> None:
    click.echo("\n".join(printable(line) for line in text.splitlines()), err=True)
