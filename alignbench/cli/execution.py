"""Carrying out a plan in a run folder: what `run` and `score` share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from alignbench.cli.common import make_console, say

if TYPE_CHECKING:
    from rich.console import Console

    from alignbench.plan import PlannedStage
    from alignbench.run_folder import About
    from alignbench.store import Store
    from alignbench.trackers.follow import Tracking


def carry_out(
    about: About,
    out: Path,
    store: Store,
    planned: Sequence[PlannedStage],
    jobs: int | None,
    offline: bool,
    tracker: str | None = None,
) -> None:
    """Make everything that is not in the store, record the run, and show its table.

    Args:
        about: what is run.
        out: the run's folder.
        store: where artifacts are.
        planned: the plan.
        jobs: worker processes; None: as many as there is room for.
        offline: keep the Hugging Face libraries of the workers off the network.
        tracker: of `trackers.choice.NAMES`, which gets the curves; None: nobody.

    Raises:
        UserError: a stage failed; the run's record says so.
        KeyboardInterrupt: likewise.
    """
    from alignbench import run_folder
    from alignbench.errors import UserError
    from alignbench.executor import default_jobs, execute
    from alignbench.results import load, render_table

    console = make_console()
    for changed in run_folder.prepare(out, store.root, about.recipe):
        say(console, changed)
    run_folder.write_record(out, about, planned, "running")
    run_folder.forget_other_stages(out, [item.stage.name for item in planned])
    stages = [item.stage for item in planned]
    try:
        with _tracking(tracker, about.recipe, out, console) as tracking:
            artifacts = execute(
                stages, store, out, jobs or default_jobs(), console, offline, tracking
            )
    except UserError as error:
        run_folder.write_record(out, about, planned, "failed", message=str(error))
        raise
    except KeyboardInterrupt:
        run_folder.write_record(out, about, planned, "interrupted")
        raise
    run_folder.publish(out, artifacts)
    run_folder.write_record(out, about, planned, "finished", artifacts)
    render_table(console, load(out / "results.json"))
    say(console, f"Report: {out / 'report.html'}")


def _tracking(
    tracker: str | None, recipe: str, out: Path, console: Console
) -> AbstractContextManager[Tracking | None]:
    if tracker is None:
        return nullcontext()
    from alignbench.trackers.choice import make
    from alignbench.trackers.follow import Tracking

    return Tracking(make(tracker, out), tracker, recipe, out, lambda text: say(console, text))
