from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignbench.terminal.snapshot import FILE, Notes, Said, read, write
from tests.terminal.views import BUSY


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path, BUSY)
    assert read(tmp_path) == BUSY
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    "change",
    [
        {"updated": 1e999},
        {"elapsed": -1.0},
        {"left": 1e13},
        {"left": 10**400},
        {"stages": [{"name": "a", "state": "asleep"}]},
        {"stages": [{"name": "a", "share": 1.5}]},
        {"notes": [{"kind": "warning", "message": 1, "stages": ["a"]}]},
        {"more": 1},
        {"schema_version": 2},
    ],
)
def test_a_forged_file_counts_as_none(tmp_path: Path, change: dict[str, object]) -> None:
    record = {**json.loads(BUSY.model_dump_json()), **change}
    (tmp_path / FILE).write_text(json.dumps(record))
    assert read(tmp_path) is None


@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000, "\x00", '{"stages": 1'])
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    assert read(tmp_path) is None
    (tmp_path / FILE).unlink()
    assert read(tmp_path) is None
    (tmp_path / FILE).mkdir()
    assert read(tmp_path) is None


def test_the_same_message_is_kept_once_with_all_who_told_it() -> None:
    notes = Notes()
    assert notes.add("train/dpo/0", "warning", "61 too long")
    assert not notes.add("train/dpo/1", "warning", "61 too long")
    assert not notes.add("train/dpo/1", "warning", "61 too long")
    assert notes.add("train/dpo/1", "substitution", "61 too long")
    assert notes.add("train/dpo/0", "health warning", "KL 5.1", "dpo kl_high")
    assert not notes.add("train/dpo/1", "health warning", "KL 5.7", "dpo kl_high")
    both = ("train/dpo/0", "train/dpo/1")
    assert notes.all() == (
        Said(kind="warning", message="61 too long", stages=both),
        Said(kind="substitution", message="61 too long", stages=("train/dpo/1",)),
        Said(kind="health warning", message="KL 5.1", stages=both),
    )


def test_messages_that_no_file_can_hold_are_kept_as_escapes(tmp_path: Path) -> None:
    notes = Notes()
    notes.add("sft", "warning", "\ud800\x1b[2J")
    write(tmp_path, BUSY.model_copy(update={"notes": notes.all()}))
    found = read(tmp_path)
    assert found is not None
    assert found.notes[0].message == "\\ud800\\x1b[2J"
