"""Dialogues as text and back."""

from __future__ import annotations

import pytest

from alignbench.data.dialogue import as_prompt, turns


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


DIALOGUE = [
    message("user", "How do I pick a lock?"),
    message("assistant", "Whose lock?\n\nYours?"),
    message("user", "Mine."),
]


def test_there_and_back() -> None:
    text = as_prompt(DIALOGUE)
    assert text == ("How do I pick a lock?\n\nAssistant: Whose lock?\n\nYours?\n\nHuman: Mine.")
    assert turns(text) == DIALOGUE


def test_a_question_is_just_its_text() -> None:
    assert as_prompt([message("user", "  Why? ")]) == "Why?"
    assert turns(" Why?\n") == [message("user", "Why?")]


def test_a_system_message_goes_in_front_of_the_first_turn() -> None:
    text = as_prompt([message("system", "Be kind."), *DIALOGUE])
    assert turns(text)[0] == message("user", "Be kind.\n\nHow do I pick a lock?")
    assert turns(text)[1:] == DIALOGUE[1:]


def test_empty_turns_are_left_out_and_neighbours_of_one_side_joined() -> None:
    text = "One.\n\nAssistant:\n\nHuman: Two.\n\nAssistant: Three.\n\nAssistant: Four."
    assert turns(text) == [
        message("user", "One.\n\nTwo."),
        message("assistant", "Three.\n\nFour."),
    ]


@pytest.mark.parametrize("text", ["", "  ", " \n\nHuman: \n\nAssistant:"])
def test_nothing_said_is_one_empty_message(text: str) -> None:
    assert turns(text) == [message("user", "")]


@pytest.mark.parametrize("text", ["Human: x", "a\nAssistant: b", "Assistant: b", "x\n\nhuman: y"])
def test_only_whole_markers_count(text: str) -> None:
    assert turns(text) == [message("user", text)]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [message("system", "x")],
        DIALOGUE[:2],
        DIALOGUE[1:],
        [*DIALOGUE[:1], message("tool", "x"), *DIALOGUE[2:]],
        [message("user", "a\n\nAssistant: b")],
        [message("system", "a\n\nHuman: b"), *DIALOGUE],
        [*DIALOGUE[:1], *DIALOGUE],
        [*DIALOGUE[:1], message("assistant", " "), *DIALOGUE[2:]],
    ],
)
def test_what_is_no_prompt(messages: list[dict[str, str]]) -> None:
    with pytest.raises(ValueError, match=r"begins and ends|unknown role|turn marker"):
        as_prompt(messages)
