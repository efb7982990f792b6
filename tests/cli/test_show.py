from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from alignbench import cli, run_folder
from alignbench.cli.common import make_console
from alignbench.terminal import snapshot as snapshots
from alignbench.terminal.snapshot import Said, StageView
from tests.finished_run import Finished, finished_run
from tests.terminal.test_watch import ABOUT, PLANNED, manifest, told
from tests.terminal.views import BUSY


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Show:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    return Show(capsys)


class Show:
    """``alignbench show``, where standard output is no terminal, of 80 columns."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str) -> str:
        code = cli.dispatch(["show", *arguments])
        out, err = self.capsys.readouterr()
        assert (code, err) == (0, "")
        assert all(char.isprintable() or char == "\n" for char in out)
        return out


def test_a_finished_run_is_its_table(show: Show, finished: Finished) -> None:
    out = show(str(finished.folder))
    lines = out.splitlines()
    assert lines[0] == "Recipe fake, profile cpu: finished"
    assert max(len(line) for line in lines if "Report: " not in line) <= 80
    heading, first = (next(i for i, x in enumerate(lines) if x.strip() == t) for t in
                      ("Reward", "Language"))  # fmt: skip
    assert lines[heading + 1].split()[:2] == ["Reward,", "proxy"]
    assert heading < first
    assert show(str(finished.folder), "--follow") == out


def test_a_running_run_is_a_tree(show: Show, tmp_path: Path) -> None:
    run_folder.write_record(tmp_path, ABOUT, PLANNED, "running")
    manifest(tmp_path, "data")
    told(tmp_path, 0.0, Said(kind="health error", message="KL is far", stages=("train/ppo/0",)))
    lines = show(str(tmp_path)).splitlines()
    assert lines[0] == "Recipe demo, profile cpu: running"
    assert re.match(r"1 of 3 stages finished  5 min 0. s  ETA 2 min 05 s", lines[1])
    assert any(re.match(r"  ▶ ppo +0|    ▶ seed 0 +━+╌+  46 %", line) for line in lines)
    assert lines[-1] == "health error: train/ppo/0: KL is far"


def test_a_failed_run_ends_with_what_failed_and_the_remedy(show: Show, tmp_path: Path) -> None:
    message = "stage sft failed: ValueError: no\n  | log\n  run it again: the same command"
    run_folder.write_record(tmp_path, ABOUT, PLANNED, "failed", message=message)
    stages = (StageView(name="data"), StageView(name="sft", state="failed"))
    snapshots.write(tmp_path, BUSY.model_copy(update={"stages": stages, "notes": ()}))
    lines = show(str(tmp_path)).splitlines()
    assert lines[0] == "Recipe demo, profile cpu: failed"
    assert lines[-3:] == message.splitlines()
    assert re.search("✗ sft +failed", "\n".join(lines))


def test_an_interrupted_run_can_be_continued(show: Show, tmp_path: Path) -> None:
    run_folder.write_record(tmp_path, ABOUT, PLANNED, "interrupted")
    last = show(str(tmp_path)).splitlines()[-1]
    assert last == "Finished stages are kept: the same command continues from there."


def test_a_killed_run_gives_no_sign_of_life(show: Show, tmp_path: Path) -> None:
    run_folder.write_record(tmp_path, ABOUT, PLANNED, "running")
    told(tmp_path, 3600)
    assert show(str(tmp_path)).splitlines()[-1].startswith("No sign of life for 1 h 00 min")
    assert "No sign of life" in show(str(tmp_path), "--follow")


def test_forged_files_are_shown_as_text(show: Show, tmp_path: Path) -> None:
    bad = "\x1b[2J\u202e[bold]</script>\nx"
    run_folder.write_record(tmp_path, ABOUT, PLANNED, "running")
    told(tmp_path)
    record = json.loads((tmp_path / snapshots.FILE).read_text())
    record["stages"][2]["metrics"] = {bad: bad, "loss": 1e300}
    record["stages"][2]["spent"] = {"share": 1e12, "currency": bad}
    record["notes"] = [{"kind": bad, "message": bad, "stages": []}]
    (tmp_path / snapshots.FILE).write_text(json.dumps(record))
    assert "[bold]</script>\\nx" in show(str(tmp_path))


def test_no_control_characters_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    console = make_console()
    console.print("[bold red]x[/]", style="green")
    assert not console.is_terminal
    assert capsys.readouterr().out == "x\n"
