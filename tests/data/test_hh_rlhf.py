from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from alignbench.data import checks, hh_rlhf
from alignbench.data.dialogue import ASSISTANT
from alignbench.data.found import Comparison
from alignbench.data.hh_rlhf import parse
from alignbench.data.sources import build
from alignbench.errors import UserError
from alignbench.recipe.data_sections import HhRlhfData

Row = dict[str, str]
BEFORE = "4a2557abe0a11aa900f7b54467ca98d94c87a0a3512bcc0782e6730004b781b8"


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
    assert parse(f"{head} Sure. ", f"{head} No.") == Comparison(
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


def test_one_pair_a_prompt_is_kept_and_the_rest_counted(tmp_path: Path) -> None:
    rows = [_row("A?"), _row("a?", "Other."), _row("B?", ""), _row("C?"), _row("D \ud800?")]
    found = hh_rlhf.find(str(_write(tmp_path / "a.jsonl", rows)))
    assert [pair.prompt for pair in found.comparisons] == ["A?", "C?"]
    assert found.skipped == {
        "repeated prompt": 1, "empty answer": 1, "half a character (lone surrogate)": 1,
    }  # fmt: skip


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


def test_dealing_of_a_file_stays_what_it_is(real_data: Path) -> None:
    """A change here makes finished runs incomparable with new ones: to be made knowingly."""
    dataset = build(_config(real_data / "hh_rlhf", 100, seed=3))
    text = json.dumps(dataset.rows, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == BEFORE
    assert dataset.notes == ["HH-RLHF: skipped records: 4 empty answer"]


def test_real_data(real_data: Path) -> None:
    dataset = build(_config(real_data / "hh_rlhf", 100))
    checks.check(dataset.rows)
    assert dataset.summary["records"] == 1152
    assert dataset.summary["skipped"] == {"empty answer": 4}
    assert len(dataset.rows["eval_prompts"]) == len(dataset.rows["valid_prompts"]) == 100
    for row in dataset.rows["pairs_proxy"]:
        assert row["chosen"] != row["rejected"]
        assert not row["prompt"].startswith("Human:")
        assert ASSISTANT not in row["chosen"]
