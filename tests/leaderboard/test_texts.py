from __future__ import annotations

import pytest

from alignbench.leaderboard.texts import cleaned, is_place, problem_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/me/model", "…/model"),
        ("~/data/x.jsonl", "…/x.jsonl"),
        ("../shared/hh", "…/hh"),
        ("C:\\Users\\me\\m", "…/m"),
        ("file:///srv/secret/m", "…/m"),
        ("cannot read /srv/a/b.json: gone", "cannot read …/b.json: gone"),
        ("Anthropic/hh-rlhf", "Anthropic/hh-rlhf"),
        ("train/ppo/0 and reward/gold/x", "train/ppo/0 and reward/gold/x"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("3 / 4 / 5", "3 / 4 / 5"),
        ("a\nb\u202e", "a\\nb\\u202e"),
        ("Zürich 中文 –", "Zürich 中文 –"),
    ],
)
def test_cleaned(text: str, expected: str) -> None:
    found = cleaned({"k": [text]})["k"][0]
    assert found == expected
    assert problem_of(found) is None
    assert cleaned(found) == found


def test_known_places_may_have_spaces() -> None:
    assert cleaned("in /home/jane doe/x it is", ["/home/jane doe/x"]) == "in …/x it is"


@pytest.mark.parametrize("text", ["/x", "~/x", "./x", "..\\x", "file:///x", "\\\\host\\x"])
def test_places(text: str) -> None:
    assert is_place(text)


@pytest.mark.parametrize("text", ["Anthropic/hh-rlhf", "gpt2", "~", "x/y/z"])
def test_no_places(text: str) -> None:
    assert is_place(text) == (text == "~")


@pytest.mark.parametrize(
    "text",
    [
        "hf_" + "A" * 20,
        "key sk-" + "a1" * 12,
        "ghp_" + "a" * 30,
        "Bearer abcdefgh12",
        "http://me:secret@host",
    ],
)
def test_secrets(text: str) -> None:
    assert problem_of(text) == "looks like a secret (a token or password)"
