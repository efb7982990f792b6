"""`alignbench check` through the command line, on runs without a model."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from alignbench import cli, run_folder
from alignbench.leaderboard.entry import load
from alignbench.run_folder import About
from tests.fake_run import FakeRun
from tests.finished_run import Finished, finished_run, read


def flipped(fake: FakeRun) -> None:
    """PPO's training goes the other way."""
    for seed in range(2):
        log = fake.inputs[f"train/ppo/{seed}"] / "log.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        wrong = [{**line, "reward_raw": -1 - line["reward_raw"]} for line in lines]
        log.write_text("".join(json.dumps(line) + "\n" for line in wrong))


def other_start(fake: FakeRun) -> None:
    for name, folder in fake.inputs.items():
        path = folder / "metrics.json"
        if name == "sft" or name.startswith("train/"):
            path.write_text(path.read_text().replace("5f7" * 21 + "5", "abc" * 21 + "d"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    root = tmp_path_factory.mktemp("runs")
    changes: dict[str, Callable[[FakeRun], Any]] = {
        "good": lambda fake: None,
        "flipped": flipped,
        "other": other_start,
    }
    return {name: finished_run(root / name, change) for name, change in changes.items()}


@pytest.fixture
def baseline(runs: dict[str, Finished], tmp_path: Path) -> Path:
    assert cli.dispatch(["publish", str(runs["good"].folder), "--to", str(tmp_path / "to")]) == 0
    return next((tmp_path / "to").iterdir())


def check(run: Finished, baseline: Path, *more: str) -> int:
    return cli.dispatch(["check", str(run.folder), "--baseline", str(baseline), *more])


def test_an_equal_run_passes_by_file_and_by_folder(
    runs: dict[str, Finished], baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(runs["good"], baseline) == 0
    assert check(runs["good"], baseline.parent) == 0
    out = capsys.readouterr().out
    assert "No regression: of " in out
    assert "numbers are identical" in out


def test_a_regression_fails_and_is_told_to_ci(
    runs: dict[str, Finished],
    baseline: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    junit, summary = tmp_path / "j.xml", tmp_path / "s.md"
    summary.write_text("before\n")
    given = ("--junit", str(junit), "--summary", str(summary))
    assert check(runs["flipped"], baseline, *given) == 1
    out = capsys.readouterr().out
    assert "training.reward_raw.first" in out
    assert "taken as a regression until somebody has looked" in out
    [suite] = ElementTree.parse(junit).getroot()
    assert int(suite.get("failures", "0")) > 0
    assert summary.read_text().startswith("before\n### alignbench check: Regression: of ")
    assert check(runs["flipped"], baseline, "--json") == 1
    plain = json.loads(capsys.readouterr().out)
    worse = {(f["row"], f["kind"]) for f in plain["findings"] if f["verdict"] == "worse"}
    assert worse == {("ppo", "training")}


def untrained(fake: FakeRun) -> None:
    """PPO's training logs nothing."""
    for seed in range(2):
        (fake.inputs[f"train/ppo/{seed}"] / "log.jsonl").write_text("")


def told_to_ci(junit: Path, summary: Path) -> tuple[str, str]:
    """The one error of the suite, and the last line of the summary."""
    [suite] = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("errors"), suite.get("failures")) == ("1", "1", "0")
    [error] = suite.findall("testcase/error")
    return str(error.get("message")), summary.read_text().splitlines()[-1]


def test_ci_is_told_where_there_was_no_check(
    runs: dict[str, Finished], baseline: Path, tmp_path: Path
) -> None:
    junit, summary = tmp_path / "j.xml", tmp_path / "s.md"
    given = ("--junit", str(junit), "--summary", str(summary))
    assert check(runs["good"], baseline, *given) == 0  # stale files of a pass
    assert check(runs["other"], baseline, *given) == 2
    for told in told_to_ci(junit, summary):
        assert "start" in told
        assert "differs" in told
    assert summary.read_text().splitlines()[-1].startswith("### alignbench check: no check: ")
    run = finished_run(tmp_path / "run")
    about = About("fake", "ab" * 32, "cpu", "no CUDA device")
    why = "stage train/ppo/0 failed\x1b[31m <script>"
    run_folder.write_record(run.folder, about, run.planned, "failed", message=why)
    assert check(run, baseline, *given) == 4
    message, line = told_to_ci(junit, summary)
    assert "stage train/ppo/0 failed\\x1b[31m" in message
    assert "<script>" not in line
    forged = {**read(baseline), "verdict": ["all is well"]}
    baseline.write_text(json.dumps(forged))
    assert check(runs["good"], baseline, *given) == 2
    assert "digest" in told_to_ci(junit, summary)[0]


def test_files_that_cannot_be_written_hide_no_outcome(
    runs: dict[str, Finished],
    baseline: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    summary = tmp_path / "s.md"
    given = ("--junit", str(tmp_path / "none" / "j.xml"), "--summary", str(summary))
    for name, code in (("flipped", 1), ("good", 2)):
        assert check(runs[name], baseline, *given) == code
        assert "j.xml: cannot be written" in capsys.readouterr().err
    assert summary.read_text().count("### alignbench check: ") == 2  # the other is written


def test_training_that_logged_nothing_is_no_pass(
    baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(tmp_path / "silent", untrained)
    assert check(run, baseline, "--deciding", "none") == 3
    assert "Undecided: ppo: the run has no training signals." in capsys.readouterr().out


def test_a_huge_entry_with_a_key_twice_is_refused_at_once(
    runs: dict[str, Finished], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = tmp_path / "fake-cpu-0123456789ab.json"
    keys = ",".join(f'"{n}":0' for n in range(100_000))
    hostile.write_text(f'{{{keys},"99999":0}}')
    start = time.monotonic()
    assert check(runs["good"], hostile) == 2
    assert time.monotonic() - start < 20  # comparing every two keys took minutes
    assert 'the key "99999" is there twice' in capsys.readouterr().err


def test_eighty_columns_cut_nothing(
    runs: dict[str, Finished],
    baseline: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert check(runs["flipped"], baseline) == 1
    out = capsys.readouterr().out
    assert "changed: ppo, training.reward_raw.first\n" in out
    assert "…" not in out
    assert "\x1b" not in out


def test_other_weights_are_refused_unless_accepted(
    runs: dict[str, Finished], baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(runs["other"], baseline) == 2
    assert "certificate.start_weights differs" in capsys.readouterr().err
    assert check(runs["other"], baseline, "--retrained") == 0


def test_a_failed_and_an_unfinished_run(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(tmp_path / "run")
    about = About("fake", "ab" * 32, "cpu", "no CUDA device")
    why = "stage train/ppo/0 failed\x1b[31m"
    run_folder.write_record(run.folder, about, run.planned, "failed", message=why)
    assert check(run, baseline) == 4
    err = capsys.readouterr().err
    assert "the run failed:" in err
    assert "stage train/ppo/0 failed\\x1b[31m" in err
    run_folder.write_record(run.folder, about, run.planned, "running")
    assert check(run, baseline) == 2
    assert "the run is running" in capsys.readouterr().err


def test_bad_input_is_named(
    runs: dict[str, Finished],
    baseline: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = runs["good"]
    cases = {
        ("--tolerance", "rewrd_gold=1"): 'no metric "rewrd_gold" (did you mean "reward_gold"?)',
        ("--deciding", "honst"): 'deciding: no metric "honst" (did you mean "honest"?)',
        ("--force",): "--force: belongs to --update",
        ("--junit", str(tmp_path / "none" / "j.xml")): "j.xml: cannot be written",
        ("--summary", str(tmp_path)): "cannot be written",
    }
    for more, told in cases.items():
        assert check(good, baseline, *more) == 2
        assert told in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert check(good, tmp_path / "empty") == 2
    assert "has no entry of recipe fake, profile cpu" in capsys.readouterr().err
    shutil.copy(baseline, baseline.with_name("fake-cpu-0123456789ab.json"))
    assert check(good, baseline.parent) == 2
    assert "has several entries of fake, cpu: name one of" in capsys.readouterr().err
    assert cli.dispatch(["check", "nowhere", "--baseline", str(baseline)]) == 2
    forged = {**read(baseline), "verdict": ["all is well"]}
    baseline.write_text(json.dumps(forged))
    assert check(good, baseline) == 2
    assert "digest: is not that of the other fields" in capsys.readouterr().err


def test_scores_that_are_gone_are_named(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(tmp_path / "run")
    shutil.rmtree(run.artifacts["score/ppo/0"].folder)
    assert check(run, baseline) == 2
    assert "no longer has the run's scores; set ALIGNBENCH_STORE" in capsys.readouterr().err


def test_update_wants_a_check_that_passes_or_force(
    runs: dict[str, Finished], baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = baseline.read_bytes()
    assert check(runs["good"], baseline, "--update") == 0
    assert baseline.read_bytes() == before
    assert "nothing changes" in capsys.readouterr().err
    assert check(runs["flipped"], baseline, "--update") == 1
    assert "The baseline stays" in capsys.readouterr().err
    assert baseline.read_bytes() == before
    assert check(runs["flipped"], baseline, "--update", "--force") == 0
    [now] = baseline.parent.iterdir()
    assert check(runs["flipped"], now) == 0
    assert check(runs["good"], now) == 1


def test_update_by_force_takes_other_terms_too(
    runs: dict[str, Finished], baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(runs["other"], baseline, "--update") == 2
    assert check(runs["other"], baseline, "--update", "--force") == 0
    assert "certificate.start_weights: differs" in capsys.readouterr().err
    [now] = baseline.parent.iterdir()
    assert now.name != baseline.name
    assert load(now).certificate["start_weights"] == "abc" * 21 + "d"
