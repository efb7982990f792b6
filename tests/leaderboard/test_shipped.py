"""The entries that are in the repository are what they say they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignbench.leaderboard.entry import load

FILES = sorted((Path(__file__).parents[2] / "leaderboards").glob("*.json"))


def test_there_is_one() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_entry_is_valid_and_has_its_name(path: Path) -> None:
    entry = load(path)  # refuses a name that does not fit, and a changed byte
    assert path.name.startswith(f"{entry.recipe.name}-{entry.recipe.profile}-")
    assert path.stat().st_size < 300_000
