from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignbench.data.ranked import read
from alignbench.errors import UserError
from tests.data.files import write


def _row(*ranks: Any, answers: Any = ("a", "b", "c"), prompt: str = "Q") -> dict[str, Any]:
    return {"prompt": prompt, "answers": list(answers), "ranks": list(ranks)}


def _read(tmp_path: Path, *rows: Any) -> Any:
    return read(write(tmp_path / "r.jsonl", rows))


def _short(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(r["chosen"], r["rejected"], r["votes_chosen"], r["votes_total"]) for r in rows]


def test_one_annotator_gives_all_pairs(tmp_path: Path) -> None:
    rows, left_out, annotators = _read(tmp_path, _row(2, 1, 3))
    assert _short(rows) == [("b", "a", 1, 1), ("a", "c", 1, 1), ("b", "c", 1, 1)]
    assert [row["id"] for row in rows] == ["pair-00000", "pair-00001", "pair-00002"]
    assert (left_out, annotators) == ({}, 1)


@pytest.mark.parametrize("apart", [True, False])
def test_several_annotators_vote(tmp_path: Path, apart: bool) -> None:
    ranks = [[1, 2, 3], [2, 1, 3], [1, 2, None]]
    given = [_row(*own) for own in ranks] if apart else [_row(*ranks)]
    rows, left_out, annotators = _read(tmp_path, *given)
    assert _short(rows) == [("a", "b", 2, 3), ("a", "c", 2, 2), ("b", "c", 2, 2)]
    assert (left_out, annotators) == ({}, 3)


def test_ties_give_no_vote_and_are_counted(tmp_path: Path) -> None:
    rows, left_out, _ = _read(
        tmp_path,
        _row(1, 1, 2),
        _row([1, 2, None], [2, 1, None], prompt="R"),
        _row(None, 1, 2, answers=("x", "same", " same "), prompt="S"),
    )
    assert _short(rows) == [("a", "c", 1, 1), ("b", "c", 1, 1)]
    assert left_out == {
        "ties of one annotator (no vote)": 1, "pairs: no votes": 1, "pairs: tied votes": 1,
        "pairs that nobody ranked": 4, "pairs: equal answers": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (_row(1, 2), "2 ranks for 3 answers"),
        (_row(1, 2, "3"), '"ranks" must be numbers or null; found text'),
        (_row(1, 2, float("nan")), "must be numbers or null"),
        (_row(1, answers=[3]), '"answers" must be a list of texts'),
        (_row(*range(101), answers=["x"] * 101), "at most 100 answers"),
        ({"prompt": "Q", "answers": []}, '"ranks" must be a list'),
        ({"answers": [], "ranks": []}, 'no text under "prompt"'),
    ],
)
def test_other_forms_are_errors(tmp_path: Path, row: Any, told: str) -> None:
    with pytest.raises(UserError, match=rf"r\.jsonl:1: .*{told}"):
        _read(tmp_path, row)


def test_huge_numbers_are_ranks_too(tmp_path: Path) -> None:
    assert _short(_read(tmp_path, _row(1, 10**400, answers=("a", "b")))[0]) == [("a", "b", 1, 1)]
