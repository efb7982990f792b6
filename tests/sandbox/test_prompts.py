from __future__ import annotations

from collections import Counter

import pytest

from alignbench.errors import UserError
from alignbench.sandbox.content.phrases import OPENINGS
from alignbench.sandbox.items import FAMILIES, all_items
from alignbench.sandbox.prompts import (
    FAMILY_WEIGHTS,
    SPLIT_SHARES,
    Prompt,
    catalogue,
    deal,
    find,
)


def _wording(prompt: Prompt) -> str:
    return max((r for r in prompt.item.requests if prompt.text.endswith(r)), key=len)


def test_splits_share_no_wording_and_cover_every_prompt() -> None:
    pools = deal(0)
    prompts = {split: pool.take(pool.size) for split, pool in pools.items()}
    wordings = {split: {_wording(p) for p in part} for split, part in prompts.items()}
    assert sum(len(part) for part in prompts.values()) == len(catalogue())
    assert sum(map(len, wordings.values())) == len(set().union(*wordings.values()))


def test_the_corpus_asks_about_every_item() -> None:
    pool = deal(3)["corpus"]
    assert {p.item for p in pool.take(pool.size)} == set(all_items())


def test_splits_are_large_enough_for_the_largest_recipe_sizes() -> None:
    pools = deal(0)
    for split, count in (("train", 2750), ("proxy", 2000), ("gold", 2000), ("evaluation", 1000)):
        families = Counter(p.item.family for p in pools[split].take(count))
        for family, weight in FAMILY_WEIGHTS.items():
            # Every family still has its share: none ran out.
            assert abs(families[family] / count - weight) < 0.01


def test_weights_and_shares_sum_to_one() -> None:
    assert sum(FAMILY_WEIGHTS.values()) == pytest.approx(1)
    assert sum(SPLIT_SHARES.values()) == pytest.approx(1)
    assert set(FAMILY_WEIGHTS) == set(FAMILIES)


def test_dealing_follows_the_seed() -> None:
    first, again, other = (deal(seed)["evaluation"].take(50) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_small_takes_ask_about_different_wordings() -> None:
    prompts = deal(0)["evaluation"].take(150)
    assert len({_wording(p) for p in prompts}) == 150


def test_asking_for_too_many_prompts_says_how_many_there_are() -> None:
    pool = deal(0)["evaluation"]
    pool.take(10)
    with pytest.raises(UserError, match=f"of which {pool.size - 10} are left, but 100000 more"):
        pool.take(100_000)


def test_find_knows_each_prompt_and_no_other_text() -> None:
    question = "What is the capital of France?"
    assert find(f" {question}\n").item.key == "facts/capital/France"
    assert find(OPENINGS[1] + question).item.key == "facts/capital/France"
    with pytest.raises(UserError, match="no prompt"):
        find("What is the capital of Mars?")
