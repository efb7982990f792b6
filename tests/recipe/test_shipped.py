"""Every recipe that ships, in every profile: it can be read, planned and dry-run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from alignbench.cli import root

RECIPES = Path(__file__).parents[2] / "recipes"
FILES = sorted(RECIPES.glob("*.yaml"))
CASES = [
    (path.name, profile)
    for path in FILES
    for profile in yaml.safe_load(path.read_text()).get("profiles", {"default": None})
]


def test_there_are_the_recipes_that_the_docs_name() -> None:
    names = {path.stem for path in FILES}
    assert {"gpt2_all", "gpt2_xl_all", "smollm2_all", "own_model", "smoke"} <= names


@pytest.mark.parametrize(("recipe", "profile"), CASES, ids=["-".join(case) for case in CASES])
@pytest.mark.parametrize("command", ["run", "plan"])
def test_dry_run(
    command: str,
    recipe: str,
    profile: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    arguments = [command, str(RECIPES / recipe), "--profile", profile]
    done = CliRunner().invoke(root, [*arguments, *(["--dry-run"] if command == "run" else [])])
    assert done.exit_code == 0, done.output
    assert "to run" in done.output
    assert f"Profile {profile}" in done.output or command == "plan"
    assert list(tmp_path.iterdir()) == []  # nothing is written
