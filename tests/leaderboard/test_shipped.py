"""The entries that are in the repository are what they say they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignbench.compare import check, compare
from alignbench.leaderboard.entry import load

FILES = sorted((Path(__file__).parents[2] / "leaderboards").glob("*.json"))


def test_there_is_one() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_entry_is_valid_and_has_its_name(path: Path) -> None:
    entry = load(path)  # refuses a name that does not fit, and a changed byte
    assert path.name.startswith(f"{entry.recipe.name}-{entry.recipe.profile}-")
    assert path.stat().st_size < 300_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_an_entry_does_not_certify_is_unknown(path: Path) -> None:
    entry = load(path).certificate
    newer = {**entry, "training": {"lora": None}, "engine": "transformers"}
    unknown = {line.field for line in compare(check(entry), check(newer)).lines if line.unknown_in}
    assert unknown == {"training", "engine"} - entry.keys()
