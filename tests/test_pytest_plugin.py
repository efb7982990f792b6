"""The plug-in in a pytest of its own, as a project that has alignbench installed runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from unittest.mock import patch

import pytest

from alignbench import cli
from tests.cli.test_check import flipped, untrained
from tests.finished_run import EFFECTS, finished_run

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plugin")
    good, _ = finished_run(root / "good"), finished_run(root / "bad", flipped)
    with patch("tests.finished_run.EFFECTS", {k: v for k, v in EFFECTS.items() if k != "dpo"}):
        finished_run(root / "less")
    finished_run(root / "silent", untrained)
    assert cli.dispatch(["publish", str(good.folder), "--to", str(root / "to")]) == 0
    return root


def run(folder: Path, tests: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(tests)
    # Not by its entry point, which an older installation does not have.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    plugin = ("-p", "alignbench.pytest_plugin", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", "-q", *plugin, *arguments, "test_it.py"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


OPTIONS = ("--alignbench-baseline", "to", "--alignbench-run")


def test_it_is_an_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"alignbench": "alignbench.pytest_plugin"}


def test_unused_it_imports_nothing_and_changes_nothing(folder: Path) -> None:
    tests = (
        "import sys\n"
        "def test_nothing_is_imported():\n"
        "    found = {n.partition('.')[0] for n in sys.modules}\n"
        "    assert not found & {'torch', 'numpy', 'pydantic', 'transformers', 'scipy'}\n"
    )
    done = run(folder, tests)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_items_for_every_row(folder: Path) -> None:
    tests = "def test_own(): pass\n"
    done = run(folder, tests, *OPTIONS, "good/runs/fake", "-vv")
    assert done.returncode == 0, done.stdout
    assert "7 passed" in done.stdout
    for row in ("base", "sft", "sft_copy", "ppo", "dpo", "decided"):
        assert f"alignbench[{row}] PASSED" in done.stdout


def test_a_row_that_is_worse_fails_with_what_and_no_traceback(folder: Path) -> None:
    done = run(folder, "", *OPTIONS, "bad/runs/fake")
    assert done.returncode == 1, done.stdout
    assert "verdict changed, row ppo, what training.reward_raw.first" in done.stdout
    assert "Traceback" not in done.stdout
    assert "1 failed" in done.stdout


def test_a_row_that_is_missing_fails_by_itself(folder: Path) -> None:
    done = run(folder, "", *OPTIONS, "less/runs/fake", "-vv")
    assert done.returncode == 1, done.stdout
    assert "alignbench[dpo] FAILED" in done.stdout
    assert "alignbench[ppo] PASSED" in done.stdout
    assert "alignbench[decided] FAILED" in done.stdout
    assert "row dpo of the baseline is not in the run" in done.stdout


def test_what_was_not_compared_fails_and_what_is_inconclusive_is_skipped(folder: Path) -> None:
    silent = run(folder, "", *OPTIONS, "silent/runs/fake", "--alignbench-deciding", "none")
    assert silent.returncode == 1, silent.stdout
    assert "ppo: the run has no training signals" in silent.stdout
    assert "1 failed" in silent.stdout


def test_deciding_and_tolerance_are_options(folder: Path) -> None:
    loose = ("--alignbench-tolerance", "training=10000%", "--alignbench-tolerance", "length=9%")
    done = run(folder, "", *OPTIONS, "bad/runs/fake", *loose)
    assert done.returncode == 0, done.stdout
    wrong = run(folder, "", *OPTIONS, "good/runs/fake", "--alignbench-deciding", "honst")
    assert wrong.returncode == 4
    assert 'no metric "honst" (did you mean "honest"?)' in wrong.stdout + wrong.stderr


def test_wrong_options_are_usage_errors(folder: Path) -> None:
    for arguments, told in (
        (("--alignbench-run", "good/runs/fake"), "belong together"),
        ((*OPTIONS, "nowhere"), "no such run"),
    ):
        done = run(folder, "", *arguments)
        assert done.returncode == 4
        assert told in done.stdout + done.stderr


def test_the_fixture_checks(folder: Path) -> None:
    tests = (
        "def test_gate(alignbench_check):\n"
        "    assert alignbench_check('good/runs/fake', 'to').exit_code == 0\n"
        "    outcome = alignbench_check('bad/runs/fake', 'to', deciding=[])\n"
        "    assert outcome.exit_code == 1 and outcome.worse\n"
        "    loose = alignbench_check('bad/runs/fake', 'to', ['training=10000%'])\n"
        "    assert not loose.worse\n"
    )
    done = run(folder, tests)
    assert done.returncode == 0, done.stdout
