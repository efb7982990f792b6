from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from alignbench.errors import UserError
from alignbench.files import read_jsonl, write_jsonl
from alignbench.human.gold import GOOD, WIDE_GAP, gold_items, read_gold
from alignbench.human.items import Answers, choose, comparisons, read_answers
from tests.fake_run import FakeRun
from tests.human.runs import write

ROWS = {"base": -3.0, "sft": 0.0, "sft_copy": 0.0, "ppo": 1.5, "dpo": 1.2}
RESULTS: dict[str, Any] = {"models": list(ROWS)}


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> FakeRun:
    return FakeRun(tmp_path_factory.mktemp("run"), ROWS, prompts=20)


@pytest.fixture(scope="module")
def found(fake: FakeRun) -> Answers:
    return read_answers(fake.inputs, RESULTS)


def test_answers_are_all_of_the_run(found: Answers) -> None:
    assert found.rows == {"base": [0], "sft": [0], "sft_copy": [0], "ppo": [0, 1], "dpo": [0, 1]}
    assert len(found.given) == 7 * 20 * 2
    assert found.prompts["p3"] == "Question 3?"
    assert (("ppo", 1, "p0", 1), "sft") in found.judged


def test_rows_compete_with_the_reference_and_only_if_asked_with_each_other(found: Answers) -> None:
    assert comparisons(found, None, False) == [["ppo", "sft"], ["dpo", "sft"]]
    assert comparisons(found, None, True)[2:] == [["ppo", "dpo"]]
    assert comparisons(found, ["base"], True) == [["base", "sft"]]
    # Rows are named once and in the order of the table.
    twice = comparisons(found, ["dpo", "ppo", "dpo"], True)
    assert twice == [["ppo", "sft"], ["dpo", "sft"], ["ppo", "dpo"]]
    with pytest.raises(UserError, match=r'no row "pbo".*did you mean "ppo".*rows: base'):
        comparisons(found, ["pbo"], False)
    with pytest.raises(UserError, match='no row "sft" to compare with sft'):
        comparisons(found, ["sft"], False)


def test_items_are_dealt_equally_over_rows_and_seeds_and_repeat_no_prompt(found: Answers) -> None:
    items = choose(found, comparisons(found, None, False), 20, random.Random(1))
    assert Counter(item.model for item in items) == {"ppo": 10, "dpo": 10}
    assert len({item.prompt_id for item in items}) == 20
    for model in ("ppo", "dpo"):
        seeds = Counter(item.seed for item in items if item.model == model)
        assert seeds == {0: 5, 1: 5}
    for item in items:
        key = (item.model, item.seed, item.prompt_id, item.sample)
        assert item.response == found.given[key].text  # type: ignore[index]
        other = (item.against, item.against_seed, item.prompt_id, item.sample)
        assert item.other == found.given[other].text  # type: ignore[index]
    assert {item.sample for item in items} == {0, 1}


def test_the_draw_is_that_of_the_seed(found: Answers) -> None:
    pairs = comparisons(found, None, True)
    drawn = [choose(found, pairs, 12, random.Random(seed)) for seed in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2]
    # Rows with each other: the same seed, which both have.
    assert all(i.against_seed == (i.seed if i.against == "dpo" else 0) for i in drawn[0])


def test_prompts_repeat_where_there_are_not_enough_and_pairs_never(found: Answers) -> None:
    pairs = comparisons(found, ["base"], False)
    items = choose(found, pairs, 40, random.Random(0))
    assert len(set(items)) == 40
    with pytest.raises(UserError, match="41 asked for, but there are only 40 pairs"):
        choose(found, pairs, 41, random.Random(0))


def test_where_a_part_was_judged_people_see_a_part_of_that(tmp_path: Path) -> None:
    fake = FakeRun(tmp_path, {"base": -1.0, "sft": 0.0, "ppo": 1.0}, prompts=12)
    for seed in (0, 1):
        path = fake.inputs[f"judge/ppo/{seed}"] / "verdicts.jsonl"
        kept = [line for line in read_jsonl(path) if line["prompt_id"] in ("p1", "p2")]
        write_jsonl(path, kept)
    found = read_answers(fake.inputs, {"models": ["base", "sft", "ppo"]})
    items = choose(found, [["ppo", "sft"]], 8, random.Random(0))
    assert {item.prompt_id for item in items} == {"p1", "p2"}


def test_gold_questions_are_far_apart_by_the_exact_rule(found: Answers) -> None:
    used = choose(found, comparisons(found, None, False), 10, random.Random(0))
    gold = gold_items(found, 5, used, random.Random(0))
    scores = {(prompt, given.text): given.gold for (_, _, prompt, _), given in found.given.items()}
    assert len(gold) == 5
    for item in gold:
        assert item.gold
        assert item.prompt_id is not None
        better, worse = (scores[item.prompt_id, text] for text in (item.response, item.other))
        assert better is not None
        assert worse is not None
        assert better - worse >= WIDE_GAP
    # On prompts that nothing else is asked about, as long as there are some.
    assert not {item.prompt_id for item in gold} & {item.prompt_id for item in used}


def test_without_an_exact_rule_gold_is_an_answer_against_its_words_in_disorder(
    tmp_path: Path,
) -> None:
    fake = FakeRun(tmp_path, {"base": 0.0, "sft": 0.0, "ppo": 0.0}, prompts=6)
    for name, folder in fake.inputs.items():
        if name.startswith("score/"):
            lines = read_jsonl(folder / "scores.jsonl")
            write_jsonl(
                folder / "scores.jsonl",
                [{k: v for k, v in line.items() if not k.startswith("gold_")} for line in lines],
            )
    found = read_answers(fake.inputs, {"models": ["base", "sft", "ppo"]})
    texts = {given.text for (row, *_), given in found.given.items() if row == "sft"}
    for item in gold_items(found, 6, [], random.Random(0)):
        assert item.response in texts
        assert item.other != item.response
        assert sorted(item.other.split()) == sorted(item.response.split())
    with pytest.raises(UserError, match="7 asked for, but only 6 can be made"):
        gold_items(found, 7, [], random.Random(0))
    assert GOOD > 5  # what is garbled must have been good where that is known


def test_gold_of_a_file(tmp_path: Path) -> None:
    line = {"prompt": "2+2?", "better": "4", "worse": "fish \ud800"}
    [item] = read_gold(write(tmp_path / "gold.json", [line]))
    assert (item.prompt, item.response, item.other, item.gold) == ("2+2?", "4", "fish �", True)
    with pytest.raises(UserError, match='"better" and "worse" are the same text'):
        read_gold(write(tmp_path / "gold.json", [{**line, "worse": "4 "}]))
    with pytest.raises(UserError, match='no field "worse"'):
        read_gold(write(tmp_path / "gold.json", [{"prompt": "x", "better": "y"}]))
