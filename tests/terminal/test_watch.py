from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from alignbench import run_folder
from alignbench.plan import PlannedStage
from alignbench.run_folder import About
from alignbench.run_record import RECORD, load_record
from alignbench.terminal import snapshot as snapshots
from alignbench.terminal import watch
from alignbench.terminal.snapshot import Said, Snapshot, StageView
from tests.executor_stages import stage
from tests.terminal.views import running

NAMES = ("data", "sft", "train/ppo/0")
ABOUT = About("demo", "ab" * 32, "cpu", "no CUDA device")
PLANNED = [PlannedStage(stage(name), f"{i:064x}", name == "data", None) for i, name in
           enumerate(NAMES)]  # fmt: skip
WARNING = {"kind": "warning", "message": "looked at"}


def manifest(out: Path, name: str, **changed: Any) -> None:
    key = PLANNED[NAMES.index(name)].key
    content = {"key": key, "seconds": 4.2, "notes": [WARNING], **changed}
    (out / "manifests").mkdir(exist_ok=True)
    path = out / "manifests" / run_folder.manifest_name(name)
    path.write_text(json.dumps(content))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run of which `data` and `sft` are finished, `train/ppo/0` runs."""
    run_folder.write_record(tmp_path, ABOUT, PLANNED, "running")
    manifest(tmp_path, "data")
    manifest(tmp_path, "sft")
    return tmp_path


def told(out: Path, ago: float = 0.0, *notes: Said) -> None:
    stages = (*(StageView(name=name) for name in NAMES[:2]), running("train/ppo/0"))
    snapshot = Snapshot(
        updated=time.time() - ago, elapsed=300.0, left=125.0, stages=stages, notes=notes
    )
    snapshots.write(out, snapshot)


def states(out: Path) -> list[str]:
    return [each.state for each in watch.snapshot_of(out, load_record(out)).stages]


def test_what_runs_is_told_by_the_run_and_what_is_done_by_manifests(out: Path) -> None:
    note = Said(kind="health error", message="KL", stages=("train/ppo/0",))
    told(out, 10.0, note)
    found = watch.snapshot_of(out, load_record(out))
    assert [each.state for each in found.stages] == ["stored", "finished", "running"]
    assert [each.seconds for each in found.stages[:2]] == [None, 4.2]
    live = found.stages[2]
    assert live.seconds == pytest.approx(110, abs=2)
    assert live.metrics["loss"] == 0.0312
    assert found.elapsed == pytest.approx(310, abs=2)
    assert found.notes == (note,)


def test_without_progress_manifests_say_all(out: Path) -> None:
    found = watch.snapshot_of(out, load_record(out))
    assert [each.state for each in found.stages] == ["stored", "finished", "waiting"]
    both = ("data", "sft")
    assert found.notes == (Said(kind="warning", message="looked at", stages=both),)


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_nothing_runs_in_a_run_that_has_ended(out: Path, state: str) -> None:
    told(out)
    run_folder.write_record(out, ABOUT, PLANNED, state)
    assert states(out) == ["stored", "finished", "waiting"]


@pytest.mark.parametrize(
    "changed",
    [
        {"key": "f" * 64},
        {"seconds": "long"},
        {"seconds": float("nan")},
        {"seconds": -1},
        {"seconds": 10**400},
        {"seconds": 1e13},
        {"notes": [1]},
        {"notes": None},
    ],
)
def test_another_or_a_damaged_manifest_counts_as_none(out: Path, changed: dict[str, Any]) -> None:
    manifest(out, "sft", **changed)
    assert states(out) == ["stored", "waiting", "waiting"]


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 99_999, b"\xff"])
def test_an_unreadable_manifest_counts_as_none(out: Path, content: bytes) -> None:
    (out / "manifests" / "sft.json").write_bytes(content)
    assert states(out) == ["stored", "waiting", "waiting"]


def test_silence_is_told_of_a_run_that_should_go_on(out: Path) -> None:
    told(out, 5.0)
    record = load_record(out)
    assert watch.silence(watch.snapshot_of(out, record), record) is None
    told(out, 3600.0)
    text = watch.silence(watch.snapshot_of(out, record), record)
    assert text is not None
    assert text.startswith("No sign of life for 1 h 00 min: if it was killed, run")
    assert watch.silence(watch.snapshot_of(out, record), {**record, "state": "failed"}) is None


def watched(out: Path, terminal: bool, steps: list[Callable[[], object]]) -> str:
    """What following shows while `steps` happen, one between two looks at the folder."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=80, height=24)
    waiting = iter(steps)
    with pytest.MonkeyPatch.context() as patch:
        clock = SimpleNamespace(
            time=time.time, monotonic=time.monotonic, sleep=lambda _: next(waiting)()
        )
        patch.setattr(watch, "time", clock)
        watch.follow(console, out)
    return file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_following_ends_with_the_run(out: Path, terminal: bool) -> None:
    note = Said(kind="warning", message="late", stages=("train/ppo/0",))
    told(out)
    shown = watched(
        out,
        terminal,
        [
            lambda: told(out, 0.0, note),
            lambda: manifest(out, "train/ppo/0"),
            lambda: run_folder.write_record(out, ABOUT, PLANNED, "failed", message="no"),
        ],
    )
    if terminal:
        assert "▶ ppo" in shown
        assert "3 of 3 stages finished" in shown
        assert "! warning: train/ppo/0: late" in shown
        return
    assert shown.splitlines() == [
        "train/ppo/0: 46 % done, running for 1 min 40 s, ETA 2 min 05 s, budget 46 % of FLOPs, "
        "loss 0.0312, reward 1.24, KL 0.38",
        "warning: train/ppo/0: late",
        "train/ppo/0: finished in 4.2 s (3/3 stages)",
    ]


def test_following_ends_where_there_is_no_sign_of_life(out: Path) -> None:
    told(out)
    shown = watched(out, False, [lambda: told(out, 3600.0)])
    assert shown.count("\n") == 1


def test_the_time_of_a_run_without_progress_is_that_of_its_record(out: Path) -> None:
    found = watch.snapshot_of(out, load_record(out))
    assert found.updated == (out / RECORD).stat().st_mtime
