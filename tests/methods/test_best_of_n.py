from __future__ import annotations

import pytest
from pydantic import ValidationError

from alignbench.methods.registry import resolve


def test_kl_bound_by_hand() -> None:
    # log 4 - 3/4 = 1.386294 - 0.75; log 2 - 1/2 = 0.693147 - 0.5
    assert resolve("best_of_n", {"n": 4}).kl_bound() == pytest.approx(0.636294, abs=1e-6)
    assert resolve("best_of_n", {"n": 2}).kl_bound() == pytest.approx(0.193147, abs=1e-6)


def test_asks_for_the_choice_at_decoding() -> None:
    assert resolve("best_of_n", {}).decoder() == {"best_of": 8}
    with pytest.raises(ValidationError, match="n"):
        resolve("best_of_n", {"n": 1})
