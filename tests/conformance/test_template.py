from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from alignbench.conformance import template
from alignbench.errors import UserError

RUFF = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length=100", "--select=E,F,I"]


@pytest.mark.parametrize("name", ["Bad", "1st", "a__b", "a-b", "", "a_", "../x"])
def test_bad_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no name for a method"):
        template.write(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_known_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='there is a method "dpo" already'):
        template.write("dpo", tmp_path / "new")


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already; choose another folder with --out"):
        template.write("first", tmp_path)
    with pytest.raises(UserError, match="exists already"):
        template.write("first", tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_writes_a_package_that_is_tidy(tmp_path: Path) -> None:
    files = template.write("my_first", tmp_path / "new")
    assert [path.relative_to(tmp_path / "new").as_posix() for path in files] == [
        "pyproject.toml", "README.md", "alignbench_my_first.py", "tests/test_my_first.py",
    ]  # fmt: skip
    assert 'my_first = "alignbench_my_first:MyFirst"' in files[0].read_text()
    done = subprocess.run(
        RUFF,
        cwd=tmp_path / "new",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
