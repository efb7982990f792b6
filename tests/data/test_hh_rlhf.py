from __future__ import annotations

import gzip
import json
import sys
import types
from pathlib import Path

import pytest

from alignbench.data import checks, hh_rlhf
from alignbench.data.hh_rlhf import Record, build, parse, read, records
from alignbench.errors import UserError
from alignbench.recipe.data_sections import HhRlhfData

Row = dict[str, str]


def _row(prompt: str, chosen: str = "Yes.", rejected: str = "No.") -> Row:
    head = f"\n\nHuman: {prompt}\n\nAssistant:"
    return {"chosen": f"{head} {chosen}", "rejected": f"{head} {rejected}"}


def _write(path: Path, rows: list[Row]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def _config(path: Path | str, size: int = 10, **other: int) -> HhRlhfData:
    names = ("sft_examples", "train_prompts", "reward_pairs", "gold_pairs", "evaluation_prompts",
             "validation_prompts")  # fmt: skip
    return HhRlhfData(source="hh_rlhf", path=str(path), **(dict.fromkeys(names, size) | other))


def test_parse_takes_the_shared_prefix_as_the_prompt() -> None:
    head = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Help?\n\nAssistant:"
    assert parse(f"{head} Sure. ", f"{head} No.") == Record(
        prompt="Hi\n\nAssistant: Hello\n\nHuman: Help?",
        chosen="Sure.",
        rejected="No.",
        transcript=f"{head.strip()} Sure.",
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (_row("A?", " "), "empty answer"),
        (_row("A?", "No. "), "equal answers"),
        (_row(" "), "empty prompt"),
        ({"chosen": _row("A?")["chosen"], "rejected": _row("B?")["rejected"]}, "prompts differ"),
        ({"chosen": "no turns", "rejected": "no turns"}, "not a dialogue"),
        ({"chosen": "\n\nAssistant: x", "rejected": "\n\nAssistant: y"}, "not a dialogue"),
    ],
)
def test_parse_says_why_a_record_is_useless(row: Row, reason: str) -> None:
    assert parse(row["chosen"], row["rejected"]) == reason


def test_records_keeps_one_a_prompt_and_counts_what_it_skips() -> None:
    rows = [_row("A?"), _row("a?", "Other."), _row("B?", ""), _row("C?")]
    kept, skipped = records((row["chosen"], row["rejected"]) for row in rows)
    assert [r.prompt for r in kept] == ["A?", "C?"]
    assert skipped == {"repeated prompt": 1, "empty answer": 1}


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_file_or_the_folder_of_it_can_be_read(tmp_path: Path, name: str) -> None:
    row = _row("A?")
    (tmp_path / "sub").mkdir()
    path = _write(tmp_path / "sub" / name, [row])
    (tmp_path / "SOURCE.txt").write_text("not data")
    expected = [(row["chosen"], row["rejected"])]
    assert list(read(str(path))) == expected
    assert list(read(str(tmp_path))) == expected


def test_malformed_lines_are_named_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    lines = [json.dumps(_row("A?")), "{", "", '["list"]', '{"chosen": "x"}', '{"chosen": 1}']
    path.write_text("\n".join(lines))
    with pytest.raises(UserError) as caught:
        list(read(str(path)))
    assert [problem.split(":", 2)[1] for problem in caught.value.problems[:4]] == list("2456")
    assert str(caught.value).startswith(f"{path}:2: not JSON")
    assert "not a JSON object" in str(caught.value)
    assert 'no text under "rejected"' in str(caught.value)


def test_unreadable_files_and_missing_paths(tmp_path: Path) -> None:
    broken = tmp_path / "x.jsonl.gz"
    broken.write_bytes(b"not gzip")
    with pytest.raises(UserError, match=r"x\.jsonl\.gz: not a readable"):
        list(read(str(broken)))
    _write(broken, [_row("A?")] * 100)
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(UserError, match=r"x\.jsonl\.gz: not a readable"):
        list(read(str(broken)))
    (tmp_path / "latin.jsonl").write_bytes(b'{"chosen": "\xff"}')
    with pytest.raises(UserError, match="not a readable"):
        list(read(str(tmp_path / "latin.jsonl")))
    with pytest.raises(UserError, match="no file or folder"):
        list(read(str(tmp_path / "none.jsonl")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no \.jsonl or \.jsonl\.gz file"):
        list(read(str(tmp_path / "empty")))


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


class _Table(list[Row]):
    column_names = ("chosen", "rejected")


def test_other_paths_are_hub_names(monkeypatch: pytest.MonkeyPatch) -> None:
    row = _row("A?")
    calls = _fake_datasets(monkeypatch, _Table([row]))
    assert list(read("Anthropic/hh-rlhf")) == [(row["chosen"], row["rejected"])]
    assert calls == [("Anthropic/hh-rlhf", "train")]


def test_an_unreachable_hub_gives_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_datasets(monkeypatch, ConnectionError("Couldn't reach it"))
    with pytest.raises(UserError, match=r"Couldn't reach it.*set data\.path to a local"):
        list(read("Anthropic/hh-rlhf"))


def test_a_hub_dataset_of_other_columns_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    table = _Table()
    table.column_names = ("text",)  # type: ignore[assignment]
    _fake_datasets(monkeypatch, table)
    with pytest.raises(UserError, match="has the columns text"):
        list(read("someone/else"))


def test_build_fills_every_file_as_asked(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", [_row(f"Question {i}?") for i in range(80)])
    dataset = build(_config(path))
    counts = {name: len(rows) for name, rows in dataset.rows.items()}
    assert counts == {
        "heldout": 10, "eval_prompts": 10, "train_prompts": 10, "sft": 10, "sft_valid": 4,
        "valid_prompts": 10,
        "pairs_proxy": 10, "pairs_proxy_valid": 4, "pairs_gold": 10, "pairs_gold_valid": 4,
    }  # fmt: skip
    assert dataset.notes == []
    checks.check(dataset.rows)
    assert dataset.rows["pairs_gold"][0].items() >= {
        "id": "gold-00000", "chosen": "Yes.", "rejected": "No.", "votes_chosen": 1,
        "votes_total": 1,
    }.items()  # fmt: skip
    prompts = [row["prompt"] for row in dataset.rows["eval_prompts"]]
    assert [row["text"] for row in dataset.rows["heldout"]] == [
        f"Human: {prompt}\n\nAssistant: Yes." for prompt in prompts
    ]
    assert build(_config(path)).rows == dataset.rows
    assert build(_config(path, seed=1)).rows != dataset.rows


def test_too_few_records_scale_all_splits_and_say_so(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", [*(_row(f"Q {i}?") for i in range(36)), _row("Z?", "")])
    dataset = build(_config(path))
    # 72 asked for (6 x 10 + 3 x 4), 36 there: half of each.
    assert {name: len(rows) for name, rows in dataset.rows.items()} == {
        "heldout": 5, "eval_prompts": 5, "train_prompts": 5, "sft": 5, "sft_valid": 2,
        "valid_prompts": 5,
        "pairs_proxy": 5, "pairs_proxy_valid": 2, "pairs_gold": 5, "pairs_gold_valid": 2,
    }  # fmt: skip
    assert dataset.summary["scale"] == pytest.approx(0.5)
    assert dataset.summary["skipped"] == {"empty answer": 1}
    assert any("1 empty answer" in note for note in dataset.notes)
    assert any("scaled to 50%" in note for note in dataset.notes)


def test_far_too_few_records_are_an_error(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", [_row(f"Q {i}?") for i in range(5)])
    with pytest.raises(UserError, match="has 5 usable records"):
        build(_config(path))


def test_dialogues_with_the_same_opening_stay_in_one_file(tmp_path: Path) -> None:
    rows = [
        _row(f"Opening {i}?\n\nAssistant: So?\n\nHuman: Turn {turn}") for i in range(30)
        for turn in range(2)
    ]  # fmt: skip
    dataset = build(_config(_write(tmp_path / "a.jsonl", rows)))
    owners: dict[str, set[str]] = {}
    for name, part in dataset.rows.items():
        for row in part if name != "heldout" else []:
            owners.setdefault(row["prompt"].split("\n")[0], set()).add(name)
    assert all(len(files) == 1 for files in owners.values())


def test_real_data(real_data: Path) -> None:
    dataset = build(_config(real_data / "hh_rlhf", 100))
    checks.check(dataset.rows)
    assert dataset.summary["records"] == 1152
    assert dataset.summary["skipped"] == {"empty answer": 4}
    assert len(dataset.rows["eval_prompts"]) == len(dataset.rows["valid_prompts"]) == 100
    for row in dataset.rows["pairs_proxy"]:
        assert row["chosen"] != row["rejected"]
        assert not row["prompt"].startswith("Human:")
        assert hh_rlhf.ASSISTANT not in row["chosen"]
