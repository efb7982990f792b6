from __future__ import annotations

import pytest

from alignbench.data.dataset import Dataset
from alignbench.data.found import Comparison, Example, Found
from alignbench.data.quality import agreement, duplicates, inspect, length_bias, lengths


def test_length_bias_counts_prompts_and_not_pairs() -> None:
    long, short = "a b c", "a"
    pairs = [
        *(Comparison(f"Q{i}", long, short) for i in range(8)),
        *(Comparison(f"R{i}", short, long) for i in range(2)),
        # One prompt, longer chosen in two of three pairs: one count.
        Comparison("S", "x y", "z"), Comparison("S", "x y", "v"), Comparison("S", "z", "x y w"),
        # Even, or of equal length: neither way.
        Comparison("T", "x y", "z"), Comparison("T", "v", "x w"), Comparison("U", "a b", "c d"),
    ]  # fmt: skip
    bias = length_bias(pairs)
    assert bias["n"] == 11
    assert bias["value"] == pytest.approx(100 * 9 / 11)
    # Clopper-Pearson of 9 in 11, from R: binom.test(9, 11).
    assert bias["low"] == pytest.approx(48.224, abs=0.01)
    assert bias["high"] == pytest.approx(97.717, abs=0.01)
    assert length_bias([]) == {"value": None, "low": None, "high": None, "n": 0}


def test_agreement_of_a_coin_is_none_and_of_one_mind_is_full() -> None:
    coin = [Comparison(f"Q{i}", *(("a", "b") if i % 2 else ("b", "a")), 2, 3) for i in range(200)]
    told = agreement(coin)
    assert told["pairs"] == 200
    assert told["unanimous"] == 0
    # Two of three on every pair: observed disagreement 2/3, expected nearly 1/2.
    assert told["alpha"] == pytest.approx(1 - (2 / 3) / (600 / 599 / 2), abs=1e-6)
    one_mind = [Comparison(f"Q{i}", *("ab" if i % 2 else "ba"), 3, 3) for i in range(10)]
    assert agreement(one_mind) == {"pairs": 10, "unanimous": 100, "alpha": 1.0}
    assert agreement([Comparison("Q", "a", "b")]) == {"pairs": 0, "unanimous": None, "alpha": None}


def test_agreement_takes_records_of_one_pair_as_votes() -> None:
    told = agreement([Comparison("Q", "a", "b"), Comparison("Q", "b", "a")])
    assert told["pairs"] == 1
    assert told["unanimous"] == 0


def test_duplicates_and_contradictions() -> None:
    pairs = [
        Comparison("Q?", "a", "b"), Comparison("q", "a", "b"), Comparison("Q?", "b", "a"),
        Comparison("Q?", "a", "c"), Comparison("R", "a", "b"), Comparison("R", "a", "b"),
    ]  # fmt: skip
    found = Found(pairs, [Example("Q", "a"), Example("q!", "a"), Example("Q", "b")])
    assert duplicates(pairs, found) == {
        "exact": 1, "repeated_pairs": 2, "contradicting": 1, "repeated_examples": 1,
        "prompts_with_several_pairs": 1,
    }  # fmt: skip


def test_lengths_in_words_and_tokens() -> None:
    pairs = [Comparison("a " * n, "x", "y z") for n in range(1, 21)]
    told = lengths(Found(pairs), len)
    assert told["prompt"]["words"] == {"mean": 10.5, "median": 10.5, "p95": 19, "longest": 20}
    assert told["rejected"]["characters"] == {"mean": 3, "median": 3, "p95": 3, "longest": 3}
    assert told["rejected"]["tokens"] == {"mean": 3, "median": 3, "p95": 3, "longest": 3}
    assert "response" not in told
    assert "tokens" not in lengths(Found(pairs))["prompt"]


def test_leaks_of_the_splits_are_problems() -> None:
    rows = {
        "eval_prompts": [{"prompt": "Q?"}],
        "pairs_gold": [{"prompt": "q", "chosen": "a", "rejected": "b"}],
    }
    figures = inspect(Found([Comparison("Q?", "a", "b")]), Dataset(rows, {}, ["a note"]))
    assert any("in both the gold and the evaluation split" in text for text in figures["problems"])
    assert figures["splits"] == {"eval_prompts": 1, "pairs_gold": 1}
    assert figures["notes"] == ["a note"]
    assert figures["counts"] == {"pairs": 1, "examples": 0, "prompts": 1, "skipped": 0}
