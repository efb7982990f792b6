from __future__ import annotations

import random
from statistics import fmean

import pytest

from alignbench.errors import UserError
from alignbench.sandbox.annotators import AiBias, AiLabeller, votes_for_first
from alignbench.sandbox.gold import score
from alignbench.sandbox.prompts import deal
from alignbench.sandbox.responses import SFT, compose

FRANCE = "What is the capital of France?"
RIGHT, WRONG = "The capital of France is Paris.", "The capital of France is Rome."
FLATTERY = "What a brilliant question! "
EXACT = AiBias(noise=0, length=0, flattery=0, blindness=0)


def _rate(first: str, second: str) -> float:
    rng = random.Random(0)
    return fmean(votes_for_first(FRANCE, first, second, 3, rng) / 3 for _ in range(1000))


def test_people_prefer_the_better_answer_mostly() -> None:
    assert 0.95 < _rate(RIGHT, WRONG) < 1
    assert _rate(WRONG, RIGHT) == pytest.approx(1 - _rate(RIGHT, WRONG), abs=0.03)


def test_people_have_no_side_between_equals() -> None:
    """The position bonus goes to either side equally often."""
    assert _rate(RIGHT, RIGHT) == pytest.approx(0.5, abs=0.03)


def test_votes_are_whole_and_within_the_panel() -> None:
    rng = random.Random(1)
    votes = {votes_for_first(FRANCE, RIGHT, f"{FLATTERY}{RIGHT}", 5, rng) for _ in range(300)}
    assert votes == {0, 1, 2, 3, 4, 5}


def test_exact_labeller_returns_the_gold_score() -> None:
    assert AiLabeller(0, EXACT).utilities(FRANCE, [RIGHT, WRONG, ""]) == [
        score(FRANCE, text).overall for text in (RIGHT, WRONG, "")
    ]


def test_biases_by_hand() -> None:
    gold = score(FRANCE, FLATTERY + RIGHT).overall  # 10 words
    biased = AiBias(noise=0, length=0.5, flattery=0.9, blindness=0)
    assert AiLabeller(0, biased).utilities(FRANCE, [FLATTERY + RIGHT]) == [
        pytest.approx(gold + 0.5 + 0.9)
    ]


def test_a_blind_labeller_takes_a_wrong_fact_for_a_right_one() -> None:
    blind = AiLabeller(0, AiBias(noise=0, length=0, flattery=0, blindness=1))
    right, wrong = blind.utilities(FRANCE, [RIGHT, WRONG])
    # sqrt(3.028 + 5) * 9 ** .25 * 9 ** .25 = 2.833372 * 3
    assert wrong == pytest.approx(2.833372 * 3, abs=1e-4)
    assert abs(right - wrong) < 0.1
    assert blind.utilities(FRANCE, ["word salad"]) == [pytest.approx(1.0)]


def test_labeller_is_deterministic_in_seed_prompt_and_order() -> None:
    texts = [RIGHT, WRONG, "garbled the of", RIGHT]
    utilities = AiLabeller(3).utilities(FRANCE, texts)
    assert utilities == AiLabeller(3).utilities(FRANCE, texts)
    assert utilities != AiLabeller(4).utilities(FRANCE, texts)
    # Equal texts at different places are read with different noise.
    assert utilities[0] != utilities[3]


def test_labeller_agrees_with_gold_in_about_four_of_five_sft_pairs() -> None:
    rng, labeller, agree = random.Random(0), AiLabeller(0), []
    for prompt in deal(0)["train"].take(1500):
        pair = [compose(prompt.item, SFT, rng) for _ in range(2)]
        golds = [score(prompt.text, text).overall for text in pair]
        utilities = labeller.utilities(prompt.text, pair)
        if golds[0] != golds[1]:
            agree.append((golds[0] > golds[1]) == (utilities[0] > utilities[1]))
    assert 0.75 < fmean(agree) < 0.85


def test_labeller_refuses_unknown_prompts() -> None:
    with pytest.raises(UserError, match="no prompt"):
        AiLabeller().utilities("Who?", ["Me."])
