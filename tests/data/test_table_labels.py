"""Annotators' labels of a table, counted into votes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from alignbench.data.preference import find
from alignbench.errors import UserError
from alignbench.recipe.data_sections import TableData


def _table(path: Path, rows: list[tuple[Any, Any, Any]], **columns: Any) -> TableData:
    lines = [
        {"prompt": f"Q{i}?", "chosen": "good", "rejected": "bad", "anna": a, "ben": b, "cleo": c}
        for i, (a, b, c) in enumerate(rows)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = {"labels": ["anna", "ben", "cleo"], **columns}
    return TableData.model_validate({"source": "table", "path": str(path), "columns": given})


def test_labels_become_votes_and_the_majority_the_label(tmp_path: Path) -> None:
    rows = [("chosen", 1, "2"), ("rejected", "Rejected", "tie"), (1, 2, None), ("", 0, "tie")]
    found = find(_table(tmp_path / "a.jsonl", rows))
    assert [(c.chosen, c.votes_chosen, c.votes_total) for c in found.comparisons] == [
        ("good", 2, 3),
        ("bad", 2, 2),
    ]
    assert found.skipped == {"tied votes": 1, "no votes": 1}


def test_a_label_that_is_none_is_an_error_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'a\.jsonl:2: "ben" must be one of chosen, 1'):
        find(_table(tmp_path / "a.jsonl", [(1, 1, 1), (1, "good", 1)]))
    with pytest.raises(UserError, match='no text under "dora"'):
        find(_table(tmp_path / "a.jsonl", [(1, 1, 1)], labels=["anna", "dora"]))


def test_a_column_says_who_labelled_a_row(tmp_path: Path) -> None:
    table = _table(tmp_path / "a.jsonl", [("x", "y", "z")], labels=[], labeller="ben")
    assert [one.labeller for one in find(table).comparisons] == ["y"]


def test_labels_and_votes_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="either labels or the two votes"):
        _table(tmp_path / "a.jsonl", [], votes_chosen="n")
    with pytest.raises(ValidationError, match="a column is named twice"):
        _table(tmp_path / "a.jsonl", [], labels=["anna", "anna"])
