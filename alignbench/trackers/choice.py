"""Which tracker a run uses."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from alignbench.errors import UserError

if TYPE_CHECKING:
    from alignbench.trackers.backends import Backend

NAMES = ("tensorboard", "wandb", "mlflow", "trackio")
CHOICES = ("auto", "none", *NAMES)
FOLDER = "tensorboard"
"""Of a run, where TensorBoard's event files are."""


def choose(asked: str) -> tuple[str | None, str]:
    """The tracker to use, None for none, and a sentence that says so.

    Args:
        asked: of `CHOICES`; ``auto`` is TensorBoard where it is installed.

    Raises:
        UserError: it was asked for by name and is not installed.
    """
    if asked == "none":
        return None, "Tracker: none."
    if asked == "auto":
        if installed("tensorboard"):
            return "tensorboard", "Tracker: tensorboard."
        return None, "Tracker: none (tensorboard is not installed)."
    if not installed(asked):
        raise UserError(f"--tracker {asked}: not installed; pip install {asked}")
    return asked, f"Tracker: {asked}."


def installed(package: str) -> bool:
    """Whether a package can be imported (a mere folder of that name is none)."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def make(name: str, out: Path) -> Backend:
    """The tracker called `name`, for a run in folder `out`; imports it when it is first used."""
    from alignbench.trackers import backends

    if name == "tensorboard":
        return backends.TensorBoard(out / FOLDER)
    if name == "wandb":
        return backends.Wandb()
    return backends.Mlflow() if name == "mlflow" else backends.Trackio()
