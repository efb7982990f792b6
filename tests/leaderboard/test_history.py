"""Entries of one recipe, oldest first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignbench.leaderboard.grouping import named
from alignbench.leaderboard.history import commit_dates, date_of, histories
from alignbench.leaderboard.pages import REPOSITORY
from alignbench.leaderboard.schema import Entry
from tests.leaderboard.entries import changed, published

Record = dict[str, Any]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("history"))


def of(path: Path, version: str, commit: str | None = None, **certified: Any) -> Entry:
    def change(record: Record) -> None:
        record["environment"].update(alignbench=version, git_commit=commit)
        record["certificate"].update(alignbench=version, **certified)

    return changed(path, change)


def test_versions_are_numbers_and_dates_break_ties(path: Path) -> None:
    old, new = "a" * 40, "b" * 40
    entries = named(
        [
            of(path, "0.10.0"),
            of(path, "0.9.2", new),
            of(path, "0.9.2", f"{old}+changes"),
        ]
    )
    (found,) = histories(entries, {old: "2026-01-01T00:00:00Z", new: "2026-02-01T00:00:00Z"})
    told = [(v.of.entry.environment.alignbench, (v.date or "")[:7]) for v in found.versions]
    assert told == [("0.9.2", "2026-01"), ("0.9.2", "2026-02"), ("0.10.0", "")]


def test_candidates_come_before_releases_and_moments_are_compared_not_texts(path: Path) -> None:
    old, new = "a" * 40, "b" * 40
    entries = named(
        [
            of(path, "1.0"),
            of(path, "1.0rc2"),
            of(path, "1.0.post1"),
            of(path, "0.9", new),
            of(path, "0.9", old),
            of(path, "main"),
            of(path, "0.9", "c" * 40),
        ]
    )
    dates = {old: "2026-01-02T01:00:00+14:00", new: "2026-01-01T23:00:00Z", "c" * 40: "0-0-0"}
    (found,) = histories(entries, dates)
    told = [(v.of.entry.environment.alignbench, (v.date or "")[:10]) for v in found.versions]
    assert told == [
        ("main", ""),
        ("0.9", "0-0-0"),
        ("0.9", "2026-01-02"),
        ("0.9", "2026-01-01"),
        ("1.0rc2", ""),
        ("1.0", ""),
        ("1.0.post1", ""),
    ]


def test_a_change_of_terms_is_named(path: Path) -> None:
    entries = named([of(path, "1.0"), of(path, "2.0"), of(path, "3.0", tokenizer="c" * 64)])
    (found,) = histories(entries, {})
    assert [version.changed for version in found.versions] == [None, [], ["tokenizer"]]
    assert "sft_copy" not in found.rows()
    assert {"base", "sft", "ppo", "dpo"} == set(found.rows())
    values = [cell.value for cell in found.cells("ppo", "reward_gold") if cell]
    assert len(values) == 3
    assert found.cells("nobody", "reward_gold") == [None] * 3


def test_one_entry_is_no_history(path: Path) -> None:
    assert histories(named([of(path, "1.0")]), {}) == []


def test_dates_are_those_of_known_commits_only() -> None:
    hostile = ["--output=/tmp/x", "HEAD", "0" * 40, None, "v1;id"]
    assert commit_dates(hostile, REPOSITORY) == {}


@pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="not in a checkout")
def test_the_commit_of_a_shipped_entry_has_a_date() -> None:
    from alignbench.leaderboard.entry import load

    entries = named([load(path) for path in (REPOSITORY / "leaderboards").glob("*.json")])
    dates = commit_dates([one.entry.environment.git_commit for one in entries], REPOSITORY)
    shallow = (REPOSITORY / ".git" / "shallow").exists()
    assert shallow or any((date_of(one, dates) or "").startswith("20") for one in entries)
