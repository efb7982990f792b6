"""The four trackers, each as little of its interface as curves need.

Every one is imported where it is first used, and asks nobody for a key: who is logged in, and
where runs go, is what the user has set up (``WANDB_API_KEY``, ``MLFLOW_TRACKING_URI``, ...).
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

PROJECT = "alignbench"
ID_DIGITS = 32
LONGEST_NAME = 250
_NOT_IN_NAMES = re.compile(r"[^\w\-. :]")


class Curve(Protocol):
    """A run of a tracker that takes points."""

    @property
    def id(self) -> str | None:
        """What finds this run again, if it is not its name."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add points at a step."""

    def close(self, finished: bool) -> None:
        """Send what is left; `finished`: no more will come."""


class Backend(Protocol):
    """A tracker."""

    def open(self, name: str, key: str, known: str | None, again: bool) -> Curve:
        """A run to add points to.

        Args:
            name: ``<recipe>/<row>/<seed>``, or ``<recipe>/<stage>`` of what is no row.
            key: of the stage: equal keys make equal curves.
            known: `Curve.id` of this run, if it was opened before.
            again: it has points already, and more follow; else it begins anew.
        """


class TensorBoard:
    """Event files below a folder, a subfolder for each run; written without torch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, name: str, key: str, known: str | None, again: bool) -> Curve:
        """See `Backend.open`."""
        place = self.folder.joinpath(*name.split("/"))
        if not again and place.is_dir():
            for path in place.glob("events.out.tfevents.*"):
                path.unlink()
        return _TensorBoardCurve(place)


class _TensorBoardCurve:
    id: str | None = None

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(folder))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=points))
        self._writer.add_event(event)
        self._writer.flush()

    def close(self, finished: bool) -> None:
        self._writer.close()


class Wandb:
    """Weights & Biases, in the project of ``WANDB_PROJECT``, else "alignbench"."""

    def open(self, name: str, key: str, known: str | None, again: bool) -> Curve:
        """See `Backend.open`. The id follows from name and key, so that a run is found again."""
        import wandb

        # Silent before it looks for a key: else it asks on a terminal, in the middle of the run.
        wandb.setup(settings=wandb.Settings(silent=True))
        own = known or hashlib.sha256(f"{name} {key}".encode()).hexdigest()[:ID_DIGITS]
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=name,
            group=name.partition("/")[0],
            id=own,
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True),
        )
        return _RunCurve(run, own)


class _RunCurve:
    """A run of W&B or of trackio, which follows it in this."""

    def __init__(self, run: Any, own: str) -> None:
        self._run, self.id = run, own

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self, finished: bool) -> None:
        self._run.finish()


class Mlflow:
    """MLflow, where ``MLFLOW_TRACKING_URI`` says; experiment ``MLFLOW_EXPERIMENT_NAME``."""

    def __init__(self) -> None:
        self._client: Any = None

    def open(self, name: str, key: str, known: str | None, again: bool) -> Curve:
        """See `Backend.open`."""
        from mlflow import MlflowClient

        if self._client is None:
            self._client = MlflowClient()
        if known is not None and again:
            return _MlflowCurve(self._client, known)
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(title)
        number = found.experiment_id if found else self._client.create_experiment(title)
        tags = {"alignbench.key": key}
        run = self._client.create_run(number, tags=tags, run_name=name)
        return _MlflowCurve(self._client, str(run.info.run_id))


class _MlflowCurve:
    def __init__(self, client: Any, own: str) -> None:
        self._client, self.id = client, own

    def log(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(_allowed(tag), value, now, step) for tag, value in values.items()]
        self._client.log_batch(self.id, metrics=points)

    def close(self, finished: bool) -> None:
        if finished:
            self._client.set_terminated(self.id)


def _allowed(tag: str) -> str:
    """A name as MLflow takes it: words, spaces and ``-.:`` in parts of a path; else it refuses."""
    parts = [part for part in tag.split("/") if part.strip(".")]
    return "/".join(_NOT_IN_NAMES.sub("_", part) for part in parts)[:LONGEST_NAME] or "_"


class Trackio:
    """trackio, in its local database or where ``TRACKIO_SPACE_ID`` says."""

    def open(self, name: str, key: str, known: str | None, again: bool) -> Curve:
        """See `Backend.open`. A run of another key has another name, since names are its ids."""
        import trackio

        own = known or f"{name} {key[:8]}"
        project = os.environ.get("TRACKIO_PROJECT", PROJECT)
        run = trackio.init(project=project, name=own, resume="allow")
        return _RunCurve(run, own)
