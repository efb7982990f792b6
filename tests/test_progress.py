from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from alignbench import progress
from alignbench.errors import StageFailed
from alignbench.executor import execute
from alignbench.plan import PlannedStage
from alignbench.progress import Display
from alignbench.store import Store
from alignbench.terminal.snapshot import FILE, Spent, read
from tests.executor_stages import stage
from tests.terminal.test_findings import FALLING, trained

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def planned(*names: str, cached: bool = False) -> list[PlannedStage]:
    budget = {"flops": 4e13}
    return [PlannedStage(stage(name, budget=budget), "0" * 64, cached, None) for name in names]


class Screen:
    """A terminal of 80 by 24, or none, and what was written to it."""

    def __init__(self, terminal: bool) -> None:
        self.file = io.StringIO()
        self.console = Console(
            file=self.file, force_terminal=terminal, width=80, height=24, legacy_windows=False
        )

    @property
    def text(self) -> str:
        return self.file.getvalue()

    @property
    def lines(self) -> list[str]:
        return ESCAPE.sub("\n", self.text).splitlines()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is shown at once, without waiting."""
    for name in ("REDRAW", "LOOK", "LINE"):
        monkeypatch.setattr(progress, name, 0.0)


def busy(display: Display, folder: Path) -> None:
    """A stage that is half done, with a log."""
    folder.mkdir(exist_ok=True)
    (folder / "log.jsonl").write_text('{"step": 5, "loss": 0.031, "spent_fraction": 0.46}\n')
    display.started("train/ppo/0", folder)
    display.running["train/ppo/0"].started -= 60
    display.progress("train/ppo/0", 0.5, 1.0, {"loss": 9.0})
    display.refresh()


def test_lines_without_a_terminal(tmp_path: Path, hasty: None) -> None:
    screen = Screen(terminal=False)
    with Display(screen.console, planned("sft", "train/ppo/0"), 2, tmp_path) as display:
        display.started("sft")
        display.finished("sft", 12.0, cached=False)
        busy(display, tmp_path / "stage")
    assert screen.text.splitlines() == [
        "sft: started",
        "sft: finished in 12.0 s (1/2 stages, ETA 12.0 s)",
        "train/ppo/0: started",
        "train/ppo/0: 50 % done, running for 1 min 00 s, ETA 1 min 00 s, budget 46 % of FLOPs, "
        "loss 0.031",
    ]


def test_a_running_stage_has_a_line_every_half_minute(tmp_path: Path) -> None:
    screen = Screen(terminal=False)
    with Display(screen.console, planned("sft"), 1) as display:
        display.started("sft")
        for _ in range(50):
            display.refresh()
        assert screen.text.count("\n") == 1
        display.running["sft"].told -= progress.LINE
        for _ in range(50):
            display.refresh()
    assert screen.text.count("\n") == 2


def test_a_tree_on_a_terminal(tmp_path: Path, hasty: None) -> None:
    screen = Screen(terminal=True)
    names = ["sft", *(f"train/{row}/{seed}" for row in ("ppo", "dpo") for seed in range(9))]
    with Display(screen.console, planned(*names), 2, tmp_path) as display:
        display.started("sft")
        display.finished("sft", 12.0, cached=False)
        busy(display, tmp_path / "stage")
        display.note("train/ppo/0", "warning", "long " * 40)
        display.refresh()
    assert "▶ seed 0" in screen.text
    assert "budget 46 % of FLOPs  loss 0.031" in screen.text
    assert max(len(line) for line in screen.lines) <= 80
    assert any(line.startswith("! warning") and line.endswith("…") for line in screen.lines)
    after = screen.text.rpartition("warning: train/ppo/0: ")[2]
    assert after.split() == ["long"] * 40  # whole, once all is over, and wrapped at words
    assert "started" not in screen.text


def test_no_colour_is_no_colour(hasty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen(terminal=True)
    with Display(screen.console, planned("sft"), 1) as display:
        display.started("sft")
        display.failed("sft")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", screen.text)
    assert re.search("sft +failed", screen.text)


def test_what_several_stages_tell_is_said_once_and_counted() -> None:
    screen = Screen(terminal=False)
    names = [f"train/dpo/{seed}" for seed in range(3)]
    with Display(screen.console, planned(*names), 1) as display:
        for name in names:
            display.note(name, "warning", "61 prompts too long")
    assert screen.text.splitlines() == [
        "train/dpo/0: warning: 61 prompts too long",
        "warning: 3 stages (train/dpo/0, …): 61 prompts too long",
    ]


def test_findings_come_when_the_stage_ends(tmp_path: Path) -> None:
    screen = Screen(terminal=False)
    made = trained(tmp_path / "train", FALLING)
    metrics = json.loads((made.folder / "metrics.json").read_text())
    metrics |= {"budget": {"limits": {"flops": 1}}, "spent_fraction": 1.05}
    (made.folder / "metrics.json").write_text(json.dumps({**metrics, "ended": {}}))
    with Display(screen.console, planned("train/ppo/0"), 1) as display:
        display.started("train/ppo/0")
        display.finished("train/ppo/0", 9.0, cached=False)
        display.look_at("train/ppo/0", made, None)
        assert display.snapshot().stages[0].spent == Spent(share=1.05)
    assert "train/ppo/0: budget 105 %\n" in screen.text
    assert "train/ppo/0: health error: The mean reward fell from" in screen.text
    assert "Remedy: Lower methods.ppo.learning_rate (now 1e-05)" in screen.text


@pytest.mark.parametrize("log", ["{", '{"reward_raw": "x"}', "[" * 9000])
def test_an_unreadable_log_does_not_end_the_run(tmp_path: Path, log: str) -> None:
    screen = Screen(terminal=False)
    made = trained(tmp_path / "train", [])
    (made.folder / "log.jsonl").write_text(log)
    (made.folder / "metrics.json").write_text("[]")
    with Display(screen.console, planned("train/ppo/0"), 1) as display:
        display.look_at("train/ppo/0", made, None)
    assert "train/ppo/0: warning: health rules could not read what it left" in screen.text


def test_the_file_for_show_lives_as_long_as_the_run(tmp_path: Path, hasty: None) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with Display(Screen(False).console, planned("sft", "train/ppo/0"), 1, out) as display:
        found = read(out)
        assert found is not None
        assert [each.state for each in found.stages] == ["waiting", "waiting"]
        busy(display, tmp_path / "stage")
        display.refresh()
        found = read(out)
        assert found is not None
        assert found.stages[1].share == 0.5
        assert found.stages[1].spent == Spent(share=0.46, currency="flops")
        assert found.stages[1].metrics == {"loss": 0.031}
    assert not (out / FILE).exists()


def test_a_failed_run_leaves_what_failed(tmp_path: Path) -> None:
    console = Screen(False).console
    with pytest.raises(StageFailed):
        execute([stage("sft", "boom")], Store(tmp_path / "store"), tmp_path / "out", 1, console)
    found = read(tmp_path / "out")
    assert found is not None
    assert found.stages[0].state == "failed"


def test_a_folder_that_takes_no_file_is_told_once(tmp_path: Path, hasty: None) -> None:
    screen = Screen(terminal=False)
    with Display(screen.console, planned("sft"), 1, tmp_path / "missing") as display:
        display.refresh()
    assert screen.text.count("progress.json cannot be written (No such file") == 1


@pytest.mark.parametrize(
    ("done", "total"),
    [(1e-300, 1.0), (float("nan"), 1.0), (1.0, 0.0), (5.0, 2.0), (-1.0, 2.0), (1.0, float("inf"))],
)
def test_odd_progress_is_shown_as_what_can_be_said(done: float, total: float) -> None:
    screen = Screen(terminal=True)
    metrics: dict[str, Any] = {"loss": float("nan"), "\x1b[2J\ud800": "\x1b[2J\ud800"}
    with Display(screen.console, planned("sft"), 1) as display:
        display.started("sft")
        display.progress("sft", done, total, metrics)
        shown = display.snapshot().stages[0]
        assert shown.share is None or 0 <= shown.share <= 1
        assert shown.metrics == {"loss": "nan", "\\x1b[2J\\ud800": "\\x1b[2J\\ud800"}
        display.tree.draw(display.snapshot())  # type: ignore[union-attr]
    assert "\x1b[2J" not in screen.text


def test_real_stages_on_a_terminal(tmp_path: Path) -> None:
    screen = Screen(terminal=True)
    stages = [stage("train/ppo/0", "chatter")]
    execute(stages, Store(tmp_path / "store"), tmp_path / "out", 1, screen.console)
    assert "1 of 1 stages finished" in screen.text
    assert "warning: train/ppo/0: accuracy 0.61 is below 0.70" in screen.lines
