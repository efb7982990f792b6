from __future__ import annotations

import pytest
from pydantic import ValidationError

from alignbench.methods.base import Pair
from alignbench.methods.rlaif import RLAIF, ranked_pairs


def test_all_pairs_of_a_ranking() -> None:
    # Utilities 2 > 1 > 0 over (b, a, c): three pairs, better first.
    assert ranked_pairs("p", ["a", "b", "c"], [1.0, 2.0, 0.0]) == [
        Pair("p", "b", "a"),
        Pair("p", "a", "c"),
        Pair("p", "b", "c"),
    ]


def test_ties_and_equal_texts_make_no_pair() -> None:
    assert ranked_pairs("p", ["a", "b"], [1.0, 1.0]) == []
    assert ranked_pairs("p", ["a", "a", "b"], [1.0, 0.0, 0.0]) == [Pair("p", "a", "b")]


@pytest.mark.parametrize("then", ["dpo", "ppo"])
def test_options_of_the_second_half_are_needed(then: str) -> None:
    with pytest.raises(ValidationError, match=f"then: {then} needs the section"):
        RLAIF(prompts=10, then=then)
