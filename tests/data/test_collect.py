"""Collecting, end to end on a model of sixteen words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from alignbench.data.collect import (
    Asked,
    Sampling,
    complete,
    pairs,
    read_prompts,
    sample,
    to_rank,
    write,
)
from alignbench.data.preference import find
from alignbench.data.ranked import read
from alignbench.errors import UserError
from alignbench.recipe.data_sections import PreferenceData
from tests.tiny import start_folder

HOW = Sampling(samples=6, max_prompt_tokens=4, max_response_tokens=24, temperature=2.0)


def _silent(done: int, total: int) -> None:
    pass


class ByLength:
    name = "length"
    identity: ClassVar[dict[str, Any]] = {"kind": "length"}

    def utilities(self, asked: Sequence[Asked], progress: Any) -> list[list[float | None]]:
        return [[float(len(text)) for text in each.answers] for each in asked]


def test_prompts_of_a_text_file(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("One?\n\n Two? \none\nThree\n", encoding="utf-8")
    prompts, left_out = read_prompts(path, 2)
    assert prompts == ["One?", "Two?"]
    assert left_out == {"empty prompts": 1, "repeated prompts": 1, "prompts beyond --limit": 1}
    (tmp_path / "p.jsonl").write_text('{"instruction": "One?"}\n{"instruction": "\\ud800"}\n')
    assert read_prompts(tmp_path / "p.jsonl") == (
        ["One?"], {"half a character (lone surrogate)": 1},
    )  # fmt: skip
    path.write_text("\n")
    with pytest.raises(UserError, match="no prompt in it"):
        read_prompts(path)
    path.write_bytes(b"\xff")
    with pytest.raises(UserError, match="not a readable UTF-8 text file"):
        read_prompts(path)


def test_samples_are_whole_different_and_the_same_every_time(tmp_path: Path) -> None:
    folder = start_folder(tmp_path)
    calls = []
    prompts = ["w1", "w2 w3", "w1 w2 w3 w4 w5"]
    asked, left_out, digest = sample(folder, prompts, HOW, lambda *told: calls.append(told))
    assert {each.prompt for each in asked} <= {"w1", "w2 w3"}
    assert left_out["prompts too long"] == 1
    assert all(len(set(each.answers)) == len(each.answers) > 1 for each in asked)
    kept = sum(len(each.answers) for each in asked)
    lost = sum(left_out[name] for name in ("answers cut at the limit", "empty answers",
                                           "repeated answers"))  # fmt: skip
    alone = left_out["prompts with fewer than two answers"]
    assert kept + lost <= 12 <= kept + lost + alone
    assert calls[-1] == (12, 12)
    # The folder of a stage that holds it in model/ is the same model.
    assert sample(folder.parent, prompts, HOW, _silent) == (asked, left_out, digest)


def test_what_of_the_samples_is_an_answer() -> None:
    texts = ["a", "a", None, "", "b", "c", None, ""]
    assert complete(["P", "Q"], texts, 4) == (
        [Asked("Q", ("b", "c"))],
        {"answers cut at the limit": 2, "empty answers": 2, "repeated answers": 1,
             "prompts with fewer than two answers": 1},
    )  # fmt: skip


def test_no_answers_at_all_say_why(tmp_path: Path) -> None:
    how = Sampling(samples=2, max_response_tokens=1)
    with pytest.raises(UserError, match="no prompt has two different complete answers"):
        sample(start_folder(tmp_path), ["w1"], how, _silent)


def test_pairs_are_written_as_the_source_reads_them(tmp_path: Path) -> None:
    asked = [Asked("Hi\n\nAssistant: Yo\n\nHuman: Q", ("a", "bbb", "cc")), Asked("R", ("d", "e"))]
    rows, left_out = pairs(asked, ByLength(), _silent)
    assert [(row["chosen"], row["rejected"]) for row in rows] == [
        ("bbb", "a"), ("cc", "a"), ("bbb", "cc"),
    ]  # fmt: skip
    assert left_out == {"pairs held equal": 1}
    out = tmp_path / "pairs.jsonl"
    write(out, rows, {"labeller": "x"})
    found = find(PreferenceData(source="preference", path=str(tmp_path)))
    assert found.skipped == {}
    assert [(p.prompt, p.chosen, p.rejected, p.votes_total) for p in found.comparisons] == [
        (row["prompt"], row["chosen"], row["rejected"], 1) for row in rows
    ]
    assert json.loads((tmp_path / "pairs.jsonl.meta.json").read_text()) == {"labeller": "x"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, f"{out.name}.meta.json"]
    with pytest.raises(UserError, match="cannot write"):
        write(tmp_path / "none" / "x.jsonl", rows, {})


def test_people_get_a_gap_for_each_answer(tmp_path: Path) -> None:
    rows = to_rank([Asked("Q", ("a", "b"))])
    assert rows == [
        {"id": "prompt-00000", "prompt": "Q", "answers": ["a", "b"], "ranks": [None, None]}
    ]
    write(tmp_path / "r.jsonl", rows, {})
    assert read(tmp_path / "r.jsonl")[:2] == ([], {"pairs that nobody ranked": 1})
