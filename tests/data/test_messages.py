"""What the tests of the sources leave open."""

from __future__ import annotations

from typing import Any

import pytest

from alignbench.data.dialogue import turns
from alignbench.data.found import Malformed, Unusable
from alignbench.data.messages import answered, finite, messages, plain_prompt, prompt_of
from tests.data.files import said


def test_roles_of_other_projects() -> None:
    given: list[Any] = [
        {"from": "Human", "value": "a"}, {"from": "chatgpt", "value": "b"},
        {"role": "prompter", "content": "c"}, {"role": "model", "content": "d"},
    ]  # fmt: skip
    assert messages(given, "x") == said("a", "b", "c", "d")


def test_parts_of_text_are_one_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert messages([{"role": "user", "content": parts}], "x") == said("a\n\nb")


def test_what_is_written_is_read_back() -> None:
    before = said("a", "b\n\nc", "d")
    assert turns(prompt_of(before)) == before
    assert list(answered([*before, {"role": "assistant", "content": "e"}])) == [
        ("a", "b\n\nc"), (prompt_of(before), "e"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (said("a", "b"), "two turns of the assistant in a row"),
        (said("", "b", "c")[1:], "begins with the assistant"),
        (said("a", " ", "c"), "an empty turn"),
        ([{"role": "system", "content": "x"}], "empty prompt"),
    ],
)
def test_what_is_no_prompt(before: list[dict[str, str]], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        prompt_of(before)


def test_a_plain_prompt_loses_the_markers_around_it_only() -> None:
    text = "a\n\nAssistant: b\n\nHuman: c"
    assert plain_prompt(f"\n\nHuman: {text}\n\nAssistant:") == text
    assert plain_prompt(text) == text


@pytest.mark.parametrize(
    ("value", "told"), [(10**400, True), (True, False), (float("nan"), False), ("1", False)]
)
def test_finite(value: Any, told: bool) -> None:
    assert finite(value) is told


@pytest.mark.parametrize("value", [None, "x", {"role": "user"}, [[]], [3]])
def test_no_list_of_messages(value: Any) -> None:
    with pytest.raises(Malformed, match='"x" must be a list of messages'):
        messages(value, "x")


def test_what_is_wrong_inside_a_list_is_named() -> None:
    value = [*said("a"), ["b"]]
    with pytest.raises(Malformed, match='"x" must be a list of messages; item 2 is a list'):
        messages(value, "x")
