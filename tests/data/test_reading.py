from __future__ import annotations

import gzip
import json
import sys
import types
from pathlib import Path
from typing import Any

import pandas
import pytest

from alignbench.data.messages import text
from alignbench.data.reading import each, read_lines
from alignbench.errors import UserError
from tests.data.files import write

ROW = {"a": "x", "b": "y"}


def _values(path: Path | str) -> list[dict[str, Any]]:
    return [line.values for line in read_lines(str(path))]


@pytest.mark.parametrize("name", ["f.jsonl", "f.jsonl.gz"])
def test_a_file_or_a_folder_of_json_lines(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    path = write(tmp_path / "sub" / name, [ROW, ROW])
    (tmp_path / "SOURCE.txt").write_text("not data")
    (tmp_path / "sub" / "f.jsonl.meta.json").write_text("{}")
    (tmp_path / ".hidden").mkdir()
    write(tmp_path / ".hidden" / "g.jsonl", [ROW])
    assert _values(path) == _values(tmp_path) == [ROW, ROW]
    assert [line.place for line in read_lines(str(path))] == [f"{path}:1", f"{path}:2"]


def test_every_other_kind(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text(json.dumps([ROW]))
    (tmp_path / "2.csv").write_text("a,b\nx,y\n")
    (tmp_path / "3.tsv.gz").write_bytes(gzip.compress(b"a\tb\nx\ty\n"))
    pandas.DataFrame([ROW]).to_parquet(tmp_path / "4.parquet")
    assert _values(tmp_path) == [ROW] * 4


def test_parquet_gives_lists_and_none(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pandas.DataFrame([{"a": [{"role": "user"}], "n": 1.0}, {"a": None, "n": None}]).to_parquet(path)
    assert _values(path) == [{"a": [{"role": "user"}], "n": 1.0}, {"a": None, "n": None}]


def test_malformed_lines_are_told_together_by_place(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    deep = "[" * 100_000 + "]" * 100_000
    lines = [json.dumps(ROW), "{", "", '["list"]', '{"b": 1}', '{"aa": "z"}', deep, "9" * 5000, "{"]
    path.write_text("\n".join(lines))
    with pytest.raises(UserError) as caught:
        each(str(path), "a row", lambda values: text(values, "a") and None)
    told = caught.value.problems
    assert [line.removeprefix(f"{path}:").split(":")[0] for line in told[:5]] == list("24567")
    assert "not JSON (" in told[0]
    assert "not a JSON object" in told[1]
    assert 'no text under "a"; this record has: b' in told[2]
    assert 'no text under "a" (did you mean "aa"?)' in told[3]
    assert "not JSON that can be read" in told[4]
    assert told[5:] == ("… and 2 more malformed records", "each record must be a row")


def test_good_records_reach_the_taker_in_order(tmp_path: Path) -> None:
    taken: list[dict[str, Any]] = []
    each(str(write(tmp_path / "f.jsonl", [{"n": 1}, {"n": 2}])), "", taken.append)
    assert taken == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.jsonl.gz", b"not gzip", "not a readable UTF-8"),
        ("x.jsonl.gz", gzip.compress(b'{"a": "' + bytes(range(48, 90)) * 99 + b'"}')[:40], "not a"),
        ("x.json.gz", gzip.compress(b"[" + b" " * 999)[:12] + b"\xff" * 30, "cannot|damaged|not"),
        ("x.jsonl", b'{"a": "\xff"}', "not a readable UTF-8"),
        ("x.csv", b"a,b\n1\n", "not as many fields"),
        ("x.parquet", b"PAR1 no", "not a readable"),
        ("x.jsonl", b"", "no record in it"),
        ("x.json", b"[]", "no record in it"),
        ("x.txt", b"a", "unknown kind of file"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=told):
        each(str(tmp_path / name), "", lambda values: None)


def test_missing_paths(tmp_path: Path) -> None:
    for path in (str(tmp_path / "none"), "./none", "none.parquet", "none.jsonl.gz"):
        with pytest.raises(UserError, match="no file or folder"):
            _values(path)
    with pytest.raises(UserError, match="cannot be read: File name too long"):
        _values("x" * 10_000)
    with pytest.raises(UserError, match=r"no data file \(\.jsonl"):
        _values(tmp_path)


def _fake_datasets(monkeypatch: pytest.MonkeyPatch, result: object) -> list[tuple[str, str]]:
    """Stand-in for the `datasets` package: the hub must not be reached by tests."""
    calls: list[tuple[str, str]] = []

    def load_dataset(name: str, split: str) -> object:
        calls.append((name, split))
        if isinstance(result, Exception):
            raise result
        return result

    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    exceptions = types.ModuleType("datasets.exceptions")
    exceptions.DatasetsError = type("DatasetsError", (Exception,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setitem(sys.modules, "datasets.exceptions", exceptions)
    return calls


def test_other_paths_are_hub_names(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _fake_datasets(monkeypatch, [ROW])
    assert [(line.values, line.place) for line in read_lines("a/b")] == [(ROW, "a/b: row 0")]
    assert calls == [("a/b", "train")]


def test_an_unreachable_hub_gives_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_datasets(monkeypatch, ConnectionError("Couldn't reach it"))
    with pytest.raises(UserError, match=r"Couldn't reach it.*set data\.path to a local"):
        _values("Anthropic/hh-rlhf")
