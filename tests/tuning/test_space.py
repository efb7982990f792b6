from __future__ import annotations

from typing import Any

import pytest

from alignbench.tuning.space import Choice, Range, flattened, parse, replaced


def test_ranges_and_choices() -> None:
    assert parse({"low": 1e-4, "high": 1e-3, "log": True}) == Range(1e-4, 1e-3, True, False)
    assert parse({"low": 2, "high": 5}) == Range(2, 5, False, True)
    assert parse({"low": 2, "high": 5.0}) == Range(2, 5.0, False, False)
    assert parse([0.1, None, [1, 2]]) == Choice((0.1, None, [1, 2]))
    assert parse([1, True]) == Choice((1, True))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (0.5, "a list of choices, or a range"),
        ("abc", "a list of choices, or a range"),
        ([0.5], "at least two"),
        ([1, 2, 1.0], "1.0 twice"),
        ({"low": 1, "high": 2, "step": 1}, "has step; keys of a range: low, high, log"),
        ({"low": 1}, "two numbers"),
        ({"low": True, "high": 2}, "two numbers"),
        ({"low": 1.0, "high": float("inf")}, "two numbers"),
        ({"low": 2, "high": 2}, "below high"),
        ({"low": 0.0, "high": 2.0, "log": True}, "above 0"),
        ({"low": 1, "high": 2, "log": 1}, "true or false"),
    ],
)
def test_what_is_neither_is_refused(written: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(written)


def test_membership() -> None:
    whole, real = parse({"low": 2, "high": 5}), parse({"low": 2.0, "high": 5.0})
    assert 2 in whole
    assert 5 in whole
    assert all(value not in whole for value in (6, 2.5, True, None, "3"))
    assert 2.5 in real
    assert 5.1 not in real
    choice = parse([1, True, None])
    assert isinstance(choice, Choice)
    assert (choice.index(True), choice.index(1), choice.index(None)) == (1, 0, 2)
    assert 2 not in choice
    with pytest.raises(ValueError, match="none of"):
        choice.index(2)


def test_dotted_names() -> None:
    options = {"a": 1, "dpo": {"beta": 0.1, "epochs": 2}, "ppo": None}
    assert dict(flattened(options)) == {"a": 1, "dpo.beta": 0.1, "dpo.epochs": 2, "ppo": None}
    changed = replaced(options, {"a": 5, "dpo.beta": 0.3})
    assert changed == {"a": 5, "dpo": {"beta": 0.3, "epochs": 2}, "ppo": None}
    assert options["dpo"] == {"beta": 0.1, "epochs": 2}  # the original is untouched
    for name in ("b", "dpo.gamma", "ppo.clip", "a.b"):
        with pytest.raises(KeyError):
            replaced(options, {name: 1})
