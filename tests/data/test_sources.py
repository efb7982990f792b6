"""Pooling and building, whatever the source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignbench.data import checks
from alignbench.data.checks import normalise
from alignbench.data.found import Comparison, Example, Found, opening
from alignbench.data.sources import build, find, pooled
from alignbench.errors import UserError
from alignbench.recipe.data_sections import (
    SOURCES,
    AlpacaData,
    OpenAssistantData,
    PreferenceData,
    SftData,
)
from tests.data.files import pair, write

SIZES = dict.fromkeys(
    ("sft_examples", "train_prompts", "reward_pairs", "gold_pairs", "evaluation_prompts",
     "validation_prompts"), 10)  # fmt: skip


def _config(path: Path, **more: Any) -> PreferenceData:
    return PreferenceData(source="preference", path=str(path), **(SIZES | more))


def _openings(rows: list[dict[str, Any]]) -> set[str]:
    return {opening(row["prompt"]) for row in rows}


def test_records_of_one_pair_are_votes_and_the_majority_is_the_label() -> None:
    found = Found(
        [
            Comparison("Q?", "a", "b"),
            Comparison("q", "b", "a"),
            Comparison("Q?", "b", "a", 2, 3),
            Comparison("T?", "a", "b"),
            Comparison("T?", "b", "a"),
        ]
    )
    pool = pooled(found)
    # For "a" of the first pair: 1 of 1, 0 of 1, 1 of 3.
    assert pool.comparisons == [Comparison("Q?", "b", "a", 3, 5)]
    assert pool.skipped == {"pairs with tied votes": 1}
    assert pool.facts == {"records of a pair seen before": 3}


def test_exact_duplicates_are_no_votes() -> None:
    one, other = Comparison("Q?", "a", "b"), Comparison("Q?", "b", "a")
    pool = pooled(Found([one, one, one, Comparison("R?", "a", "b", 2, 3), one]))
    assert pool.comparisons == [one, Comparison("R?", "a", "b", 2, 3)]
    assert pool.skipped == {"exact duplicates": 3}
    assert pool.facts == {}
    # Said both ways, and once again: a contradiction, not a majority.
    pool = pooled(Found([one, other, one]))
    assert pool.comparisons == []
    assert pool.skipped == {"exact duplicates": 1, "pairs with tied votes": 1}


def test_the_same_of_another_labeller_is_a_vote(tmp_path: Path) -> None:
    rows = [pair(labeller=name) for name in ("anna", "ben", "anna")]
    found = find(_config(write(tmp_path / "f.jsonl", rows)))
    pool = pooled(found)
    assert [(c.votes_chosen, c.votes_total) for c in pool.comparisons] == [(2, 2)]
    assert pool.skipped == {"exact duplicates": 1}


def test_without_examples_the_answer_that_wins_most_is_one() -> None:
    pairs = [Comparison("Q", *two) for two in (("b", "c"), ("a", "b"), ("a", "c"))]
    assert pooled(Found(pairs)).examples == [Example("Q", "a")]
    own = [Example("Q", "b"), Example("q", "b"), Example("Q", "d")]
    pool = pooled(Found(pairs, own))
    assert pool.examples == [own[0], own[2]]
    assert pool.skipped == {"repeated examples": 1}


def test_several_pairs_of_one_prompt_stay_together(tmp_path: Path) -> None:
    rows = [pair(f"Question {i}?", f"yes {k}", f"no {k}") for i in range(60) for k in range(4)]
    path = write(tmp_path / "f.jsonl", rows)
    dataset = build(_config(path))
    checks.check(dataset.rows)
    assert {name: len(part) for name, part in dataset.rows.items()} == {
        "heldout": 10, "eval_prompts": 10, "train_prompts": 10, "sft": 10, "sft_valid": 4,
        "valid_prompts": 10, "pairs_proxy": 10, "pairs_proxy_valid": 4, "pairs_gold": 10,
        "pairs_gold_valid": 4,
    }  # fmt: skip
    assert dataset.notes == []
    assert build(_config(path)).rows == dataset.rows
    assert build(_config(path, seed=1)).rows != dataset.rows
    assert dataset.rows["eval_prompts"][0]["family"] == "preference"
    assert dataset.rows["heldout"][0]["text"] == (
        f"Human: {dataset.rows['eval_prompts'][0]['prompt']}\n\nAssistant: yes 0"
    )


def test_prompts_of_signs_alone_are_told_apart(tmp_path: Path) -> None:
    rows = [pair(chr(0x2190 + i)) for i in range(80)]  # arrows and the like: no letter among them
    dataset = build(_config(write(tmp_path / "f.jsonl", rows)))
    checks.check(dataset.rows)
    assert dataset.summary["records"] == 80


def test_votes_come_through_and_agreement_is_told(tmp_path: Path) -> None:
    rows = [pair(f"Q {i}?", votes_chosen=2 + i % 2, votes_total=3) for i in range(90)]
    dataset = build(_config(write(tmp_path / "f.jsonl", [*rows, pair("T", votes_chosen=1,
                                                                     votes_total=2)])))  # fmt: skip
    assert {row["votes_chosen"] for row in dataset.rows["pairs_gold"]} == {2, 3}
    assert dataset.summary["annotator_agreement"] == {"unanimous": 0.5, "pairs": 90}
    assert dataset.summary["skipped"] == {"tied votes": 1}
    assert dataset.notes == ["preference data: skipped records: 1 tied votes"]


def test_sft_examples_from_another_source_without_what_the_pairs_hold(tmp_path: Path) -> None:
    pairs = write(tmp_path / "p.jsonl", [pair(f"Question {i}?") for i in range(80)])
    tasks = [{"instruction": f"Task {i}", "output": "Done."} for i in range(30)]
    tasks += [{"instruction": "question 3", "output": "leak"}]
    sft = SftData(source="alpaca", path=str(write(tmp_path / "s.jsonl", tasks)))
    dataset = build(_config(pairs, sft=sft))
    checks.check(dataset.rows)
    assert len(dataset.rows["sft"]) == 10
    assert len(dataset.rows["sft_valid"]) == 4
    assert all(row["prompt"].startswith("Task") for row in dataset.rows["sft"])
    assert {row["family"] for row in dataset.rows["sft"]} == {"alpaca"}
    assert dataset.summary["sft"] == {
        "source": "alpaca", "examples": 30, "scale": 1.0,
        "skipped": {"examples that begin like a pair": 1},
    }  # fmt: skip
    assert any("1 examples that begin like a pair" in note for note in dataset.notes)
    # The pairs are dealt to the other files only.
    assert len(dataset.rows["pairs_proxy"]) == 10


def test_errors_of_the_other_source_name_its_key(tmp_path: Path) -> None:
    pairs = write(tmp_path / "p.jsonl", [pair(f"Question {i}?") for i in range(80)])
    for path, told in (("./none.jsonl", "there is no file"), ("s.jsonl", "too few to fill")):
        write(tmp_path / "s.jsonl", [{"instruction": "x", "output": "y"}])
        named = path if path.startswith(".") else str(tmp_path / path)
        with pytest.raises(UserError, match=rf"^data\.sft\.path: .*{told}"):
            build(_config(pairs, sft=SftData(source="alpaca", path=named)))


def test_sft_only_sources_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no preferences; name it under data\.sft .*data collect"):
        build(AlpacaData(source="alpaca", path="x"))


def test_nothing_usable_says_why(tmp_path: Path) -> None:
    path = write(tmp_path / "f.jsonl", [pair(chosen="")])
    with pytest.raises(UserError, match=r"no usable pair \(1 skipped: 1 empty answer\)"):
        build(_config(path))


def test_every_source_has_a_section_of_its_name() -> None:
    for name, section in SOURCES.items():
        assert section.model_validate({"source": name, "path": "x"}).source == name


def test_real_trees_are_dealt_without_leaks(real_data: Path) -> None:
    sizes = SIZES | {"reward_pairs": 150, "gold_pairs": 100, "train_prompts": 20}
    config = OpenAssistantData(
        source="open_assistant", path=str(real_data / "open_assistant"), **sizes
    )
    dataset = build(config)
    checks.check(dataset.rows)
    assert dataset.summary["records"] == 754
    counts = {name: len(rows) for name, rows in dataset.rows.items()}
    assert counts["pairs_gold"] == 100
    owners = [_openings(rows) for name, rows in dataset.rows.items() if name != "heldout"]
    assert sum(map(len, owners)) == len(set().union(*owners))
    assert all(normalise(row["prompt"]) for row in dataset.rows["eval_prompts"])
