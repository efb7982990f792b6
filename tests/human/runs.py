"""Finished runs whose results can be made again, and answers to their forms."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from alignbench import cli, run_folder
from alignbench.human.form import Form, Shown, read_key
from alignbench.human.stored import answers_digest
from alignbench.run_folder import About
from alignbench.stage import Stage, StageContext
from alignbench.stages import report as reports
from tests import finished_run as finished
from tests.fake_run import FakeRun
from tests.finished_run import Finished, commit

ENTRIES = {kind: f"alignbench.stages.{kind}:run" for kind in ("results", "cards", "report")}
Record = dict[str, Any]


def make_run(root: Path, change: Callable[[FakeRun], Any] = lambda fake: None) -> Finished:
    """`tests.finished_run` with a report, whose last stages name what makes them."""

    def stage(name: str, entry: str, config: Record) -> Stage:
        return Stage(name, ENTRIES.get(name, entry), config)

    def report(folder: Path) -> None:
        inputs = {name: artifact.folder for name, artifact in run.artifacts.items()}
        reports.run(StageContext(folder, {}, inputs, lambda *_, **__: None, lambda *_: None))

    with patch("tests.finished_run.Stage", stage):
        run = finished.finished_run(root, change)
        number = len(run.planned) + 1
        run.artifacts["report"], item = commit(run.store, "report", report, {}, number)
    run.planned.append(item)
    shutil.copyfile(
        run.artifacts["report"].folder / "manifest.json", run.folder / "manifests" / "report.json"
    )
    run_folder.publish(run.folder, run.artifacts)
    about = About("fake", "ab" * 32, "cpu", "no CUDA device")
    run_folder.write_record(run.folder, about, run.planned, "finished", run.artifacts)
    return run


@contextmanager
def shell() -> Iterator[Callable[..., int]]:
    """The command line; the fake recipe is too small for the forecast in the results."""
    with patch("alignbench.stages.results.read_config", return_value=None):
        yield lambda *arguments: cli.dispatch(["human", *map(str, arguments)])


def the_form(run: Finished) -> Form:
    """The form of the only key in the run's folder."""
    [form] = forms(run)
    return form


def forms(run: Finished) -> list[Form]:
    """The forms of the only key in the run's folder."""
    [path] = (run.folder / "human").glob("key-*.json")
    record = json.loads((run.folder / "run.json").read_text())
    return list(read_key(path, answers_digest(record)).values())


def answered(
    form: Form,
    annotator: str,
    prefer: Callable[[Shown], str],
    rate: Callable[[Shown, str], Record] | None = None,
) -> Record:
    """What the form hands out.

    Args:
        form: filled in.
        annotator: by whom.
        prefer: ``response``, ``other`` or ``tie`` for each question.
        rate: the ratings of ``response`` or ``other``.
    """
    answers = []
    for shown in form.shown:
        sides = {"response": "a", "other": "b"} if shown.first else {"response": "b", "other": "a"}
        answer: Record = {"id": shown.id, "choice": sides.get(prefer(shown), "tie")}
        for text, side in sides.items():
            answer[side] = rate(shown, text) if rate is not None else {}
        answers.append(answer)
    return {
        "schema": "alignbench-human-1",
        "form": form.digest,
        "annotator": annotator,
        "answers": answers,
    }


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
