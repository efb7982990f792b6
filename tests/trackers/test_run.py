"""`alignbench run --tracker`, on a pipeline of made-up stages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignbench import cli
from tests.cli import fake_pipeline
from tests.cli.test_cli import RECIPE
from tests.trackers.test_follow import Memory


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Memory:
    made = Memory()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALIGNBENCH_STORE", raising=False)
    monkeypatch.setattr("alignbench.pipeline.build", fake_pipeline.build)
    monkeypatch.setattr("alignbench.trackers.choice.installed", lambda name: True)
    monkeypatch.setattr("alignbench.trackers.choice.make", lambda name, out: made)
    Path("tiny.yaml").write_text(RECIPE)
    return made


def test_curves_come_once_and_the_run_is_as_without(
    memory: Memory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.dispatch(["run", "tiny.yaml", "--tracker", "none"]) == 0
    assert "Tracker: none." in capsys.readouterr().out
    plain = Path("runs/tiny/run.json").read_bytes()
    assert memory.points == {}
    for _ in range(2):  # now all is in the store
        assert cli.dispatch(["run", "tiny.yaml"]) == 0
        assert "Tracker: tensorboard." in capsys.readouterr().out
    [(step, table)] = memory.points["tiny/results"]
    assert step == 0
    results = json.loads(Path("runs/tiny/results.json").read_text())
    expected = {f"{r['metric']}/{r['model']}": r["value"] for r in results["rows"]}
    assert table == {name: value for name, value in expected.items() if value is not None}
    now = json.loads(Path("runs/tiny/run.json").read_text())
    files = json.loads(plain)["files"]
    assert now["files"].keys() == files.keys()
    assert now["files"]["results.json"] == files["results.json"]
    # Nothing of a tracker is a stranger in the folder.
    Path("runs/tiny/tensorboard").mkdir()
    assert cli.dispatch(["show", "tiny"]) == 0
    assert "not a file of the run" not in capsys.readouterr().err


def test_a_failing_tracker_fails_no_run(memory: Memory, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(what: str) -> None:
        raise ConnectionError("no network")

    memory.fail = fail
    assert cli.dispatch(["run", "tiny.yaml", "--tracker", "wandb"]) == 0
    out = capsys.readouterr().out
    assert "warning: tracker wandb failed (ConnectionError: no network)" in out
    assert json.loads(Path("runs/tiny/trackers.json").read_text())["wandb"]["warning"]


def test_an_unknown_or_missing_tracker_is_bad_input(
    memory: Memory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.dispatch(["run", "tiny.yaml", "--tracker", "tensorbord"]) == 2
    assert "'tensorbord' is not one of 'auto', 'none', 'tensorboard'" in capsys.readouterr().err
    monkeypatch.setattr("alignbench.trackers.choice.installed", lambda name: False)
    assert cli.dispatch(["run", "tiny.yaml", "--tracker", "mlflow"]) == 2
    assert "pip install mlflow" in capsys.readouterr().err
    assert not Path("runs").exists()
