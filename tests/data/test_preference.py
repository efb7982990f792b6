from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pytest

from alignbench.data.found import Comparison, Found
from alignbench.data.preference import find
from alignbench.errors import UserError
from alignbench.recipe.data_sections import Columns, PreferenceData, TableData, UltraFeedbackData
from tests.data.files import pair, said, write


def _find(tmp_path: Path, *rows: Any) -> Found:
    path = write(tmp_path / "f.jsonl", rows)
    return find(PreferenceData(source="preference", path=str(path)))


EXPECTED = Comparison("Why?", "Yes.", "No.")
TWO_TURNS = Comparison("Hi\n\nAssistant: Hello\n\nHuman: Why?", "Yes.", "No.")
BEFORE = said("Hi", "Hello", "Why?")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (pair(), EXPECTED),
        (pair(" \n\nHuman: Why?\n\nAssistant:", " Yes. ", "No.\n"), EXPECTED),
        (pair(said("Why?"), said("", "Yes.")[1:], said("", "No.")[1:]), EXPECTED),
        (pair("Why?", said("Why?", "Yes."), said("Why?", "No.")), EXPECTED),
        (pair(said("Why?"), "Yes.", "No."), EXPECTED),
        (pair(None, said("Why?", "Yes."), said("Why?", "No.")), EXPECTED),
        (pair(BEFORE, said("", "Yes.")[1:], said("", "No.")[1:]), TWO_TURNS),
        ({k: [*BEFORE, *said("", v)[1:]] for k, v in
          (("chosen", "Yes."), ("rejected", "No."))}, TWO_TURNS),
        ({k: f"\n\nHuman: Why?\n\nAssistant: {v}" for k, v in
          (("chosen", "Yes."), ("rejected", "No."))}, EXPECTED),
        ({"chosen": "The sky is blue.", "rejected": "The sky is black."},
         Comparison("The sky is", "blue.", "black.")),
        (pair(votes_chosen=2, votes_total=3), Comparison("Why?", "Yes.", "No.", 2, 3)),
        (pair(votes_chosen="1", votes_total="3"), Comparison("Why?", "No.", "Yes.", 2, 3)),
        (pair("<b>&amp;</b>\u202e", "x" * 10**6, "é"),
         Comparison("<b>&amp;</b>\u202e", "x" * 10**6, "é")),
    ],
)  # fmt: skip
def test_every_form_gives_the_same_pair(tmp_path: Path, row: Any, expected: Comparison) -> None:
    found = _find(tmp_path, row)
    assert found.skipped == {}
    (one,) = found.comparisons
    assert one == expected


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (pair(""), "empty prompt"),
        (pair(chosen=" "), "empty answer"),
        (pair(chosen="No. \n"), "equal answers"),
        (pair(votes_chosen=1, votes_total=2), "tied votes"),
        (pair(votes_chosen=0, votes_total=0), "no votes"),
        (pair(chosen="\ud83d"), "half a character (lone surrogate)"),
        (pair("Hi\n\nAssistant: Hello"), "the prompt ends with the assistant"),
        (pair(None, said("A?", "Yes."), said("B?", "No.")), "prompts differ"),
        (pair(None, said("A?"), said("A?", "x")), "chosen does not end with the assistant"),
        (pair(None, [], []), "empty conversation"),
        (pair(said("Why?"), [{"role": "tool", "content": "x"}], said("", "x")[1:]),
         "a turn by neither user nor assistant"),
        (pair(said("a\n\nHuman: b"), "Yes.", "No."),
         "a turn with a turn marker of the dialogue form in its text"),
        ({"chosen": "Yes.", "rejected": "No."}, "no prompt, and answers that begin differently"),
    ],
)  # fmt: skip
def test_what_is_of_no_use_is_counted(tmp_path: Path, row: Any, reason: str) -> None:
    found = _find(tmp_path, row, pair())
    assert found.skipped == {reason: 1}
    assert found.comparisons == [EXPECTED]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (pair(chosen=3), 'no text under "chosen" but a number'),
        ({"prompt": "a", "choosen": "b", "rejected": "c"}, 'did you mean "choosen"'),
        (pair(votes_chosen=4, votes_total=3), "found 4 of 3"),
        (pair(votes_chosen=1), '"votes_total" must be a whole number; found nothing'),
        (pair(votes_chosen=1, votes_total=10**400), "at most 1000"),
        (pair(votes_chosen=True, votes_total=1), "found true or false"),
        (pair(None, "x", said("a", "b")), '"chosen" must be a list of messages; found text'),
        (pair(None, [{"role": "user"}], said("a", "b")), 'no text under "content"'),
        (pair(None, [{"content": "x"}], said("a", "b")), 'neither "role" nor "from"'),
    ],
)
def test_what_is_not_in_form_is_an_error(tmp_path: Path, row: Any, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        _find(tmp_path, pair(), row)
    assert str(caught.value).startswith(f"{tmp_path / 'f.jsonl'}:2: ")


def test_ultrafeedback_has_scores(tmp_path: Path) -> None:
    base = pair("Why?", said("Why?", "Yes."), said("Why?", "No."))
    scores = [(8.0, 2.0), (5, 5.0), (2, 3), (float("inf"), 1)]
    rows = [{**base, "score_chosen": a, "score_rejected": b} for a, b in scores[:3]]
    path = write(tmp_path / "f.jsonl", rows)
    config = UltraFeedbackData(source="ultrafeedback", path=str(path))
    found = find(config)
    assert found.comparisons == [EXPECTED]
    assert found.skipped == {"tied scores": 1, "scores that contradict the label": 1}
    write(path, [{**base, "score_chosen": scores[3][0], "score_rejected": 1}, base])
    with pytest.raises(UserError, match='no number under "score_chosen"'):
        find(config)


TABLE = {"question": "Why?", "good": "Yes.", "bad": "No.", "for": 1, "of": 3}
NAMES = Columns(prompt="question", chosen="good", rejected="bad")


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "jsonl", "json"])
def test_a_table_under_names_of_its_own(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"f.{kind}"
    table = pandas.DataFrame([TABLE])
    match kind:
        case "parquet":
            table.to_parquet(path)
        case "jsonl" | "json":
            table.to_json(path, orient="records", lines=kind == "jsonl")
        case _:
            table.to_csv(path, index=False, sep="," if kind == "csv" else "\t")
    config = TableData(source="table", path=str(path), columns=NAMES)
    assert find(config).comparisons == [EXPECTED]
    votes = NAMES.model_copy(update={"votes_chosen": "for", "votes_total": "of"})
    found = find(config.model_copy(update={"columns": votes}))
    assert found.comparisons == [Comparison("Why?", "No.", "Yes.", 2, 3)]
    assert found.facts == {"relabelled by majority": 1}


def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    pandas.DataFrame([TABLE]).to_csv(path, index=False)
    names = NAMES.model_copy(update={"prompt": "questoin"})
    with pytest.raises(UserError, match=r'"questoin" .did you mean "question"'):
        find(TableData(source="table", path=str(path), columns=names))
