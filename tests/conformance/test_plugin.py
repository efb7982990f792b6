"""A plug-in as its users have it: a package that pip installed, found through its entry point."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from alignbench.conformance import template

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tests" / "plugin_package"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def install(package: Path, target: Path) -> Run:
    """`pip install` the package into `target`; gives a function that runs Python with it."""
    source = target.parent / "source"
    shutil.copytree(package, source)  # building writes into the source folder
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(target)]
    subprocess.run([*pip, *offline, str(source)], check=True)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(target), str(ROOT)])
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=target,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    return run


@pytest.fixture(scope="session")
def raft(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return install(PACKAGE, tmp_path_factory.mktemp("raft") / "site")


def test_an_installed_plugin_is_listed_and_shown(raft: Run) -> None:
    done = raft("-m", "alignbench", "methods")
    assert done.returncode == 0
    assert "\nraft " in done.stdout
    done = raft("-m", "alignbench", "methods", "show", "raft")
    assert done.stdout.splitlines()[1] == "Needs: a reward model, training prompts"
    assert "samples_per_prompt" in done.stdout


@pytest.mark.slow
def test_an_installed_plugin_keeps_the_contract(raft: Run) -> None:
    done = raft("-m", "alignbench", "methods", "test", "raft")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "raft: 13 passed, 0 failed, 1 not applicable"
    assert [line.split()[0] for line in lines[:-1]].count("pass") == 13
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_template_keeps_the_contract(tmp_path: Path) -> None:
    template.write("my_first", tmp_path / "new")
    run = install(tmp_path / "new", tmp_path / "site")
    done = run("-m", "alignbench", "methods", "test", "my_first")
    assert done.returncode == 0, done.stdout + done.stderr
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "new" / "tests"))
    assert done.returncode == 0, done.stdout


def test_the_tutorial_shows_the_plugin_that_is_tested() -> None:
    page = (ROOT / "docs" / "new-method.md").read_text()
    blocks = [block.partition("```")[0] for block in page.split("```python\n")[1:]]
    assert (PACKAGE / "alignbench_raft.py").read_text() in blocks
    blocks = [block.partition("```")[0] for block in page.split("```toml\n")[1:]]
    assert (PACKAGE / "pyproject.toml").read_text() in blocks


def test_the_tutorials_method_has_less_than_sixty_lines() -> None:
    lines = (PACKAGE / "alignbench_raft.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) < 60
