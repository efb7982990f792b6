from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignbench.data.examples import find_alpaca, find_sharegpt
from alignbench.data.found import Example
from alignbench.errors import UserError
from tests.data.files import said, write


def _gpt(*texts: str) -> dict[str, Any]:
    sides = ("human", "gpt")
    return {
        "conversations": [{"from": sides[n % 2], "value": text} for n, text in enumerate(texts)]
    }


def test_every_turn_of_the_assistant_is_an_example(tmp_path: Path) -> None:
    row = _gpt("Hi", "Hello", "Why?", "So.", "Thanks")
    expected = [
        Example("Hi", "Hello"),
        Example("Hi\n\nAssistant: Hello\n\nHuman: Why?", "So."),
    ]
    assert find_sharegpt(str(write(tmp_path / "f.jsonl", [row]))).examples == expected
    row = {"messages": said("Hi", "Hello", "Why?", "So.")}
    assert find_sharegpt(str(write(tmp_path / "f.jsonl", [row]))).examples == expected


def test_a_system_message_stands_in_front(tmp_path: Path) -> None:
    row = _gpt("Hi", "Hello")
    row["conversations"].insert(0, {"from": "system", "value": "Be kind."})
    found = find_sharegpt(str(write(tmp_path / "f.jsonl", [row])))
    assert found.examples == [Example("Be kind.\n\nHi", "Hello")]


def test_two_turns_of_the_user_are_one(tmp_path: Path) -> None:
    row = {"messages": [*said("a"), *said("b", "c")]}
    found = find_sharegpt(str(write(tmp_path / "f.jsonl", [row])))
    assert found.examples == [Example("a\n\nb", "c")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": said("Hi", "Hello")[1:]}, "empty prompt"),
        ({"messages": said("", "Hello", "Why?", "So.")[1:]}, "empty prompt"),
        (_gpt("Hi"), "no turn of the assistant"),
        (_gpt("Hi", " "), "empty answer"),
        (_gpt(" ", "Hello"), "an empty turn"),
        ({"conversations": []}, "empty conversation"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}, *said("", "x")[1:]]},
         "a turn that is more than text"),
    ],
)  # fmt: skip
def test_useless_conversations_are_counted(tmp_path: Path, row: Any, reason: str) -> None:
    found = find_sharegpt(str(write(tmp_path / "f.jsonl", [row])))
    assert (found.examples, found.skipped) == ([], {reason: 1})
    assert found.facts == {"records read": 1}


@pytest.mark.parametrize("row", [{"text": "x"}, {"conversations": "x"}, {"conversations": [1]}])
def test_other_forms_are_errors(tmp_path: Path, row: Any) -> None:
    with pytest.raises(UserError, match=r"f\.jsonl:1: "):
        find_sharegpt(str(write(tmp_path / "f.jsonl", [row])))


def test_alpaca_and_self_instruct(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"instruction": "Add.", "input": "1 2", "output": "3"},
        {"instruction": "Sing.", "input": "", "output": "La."},
        {"instruction": "Say.", "output": " "},
        {"instruction": "Add.", "instances": [{"input": "2 2", "output": "4"}, {"output": "?"}]},
        {"instruction": "Nothing.", "instances": []},
    ]
    found = find_alpaca(str(write(tmp_path / "f.jsonl", rows)))
    assert found.examples == [
        Example("Add.\n\n1 2", "3"), Example("Sing.", "La."),
        Example("Add.\n\n2 2", "4"), Example("Add.", "?"),
    ]  # fmt: skip
    assert found.skipped == {"empty answer": 1, "no instance": 1}
    with pytest.raises(UserError, match='no text under "output"'):
        find_alpaca(str(write(tmp_path / "f.jsonl", [{"instruction": "x"}])))
    with pytest.raises(UserError, match='"instances" must be a list of mappings'):
        find_alpaca(str(write(tmp_path / "f.jsonl", [{"instruction": "x", "instances": [1]}])))


def test_real_seed_tasks(real_data: Path) -> None:
    found = find_alpaca(str(real_data / "self_instruct" / "seed_tasks.jsonl"))
    assert found.facts == {"records read": 175}
    assert len(found.examples) == len({example.prompt for example in found.examples}) == 175
    assert found.skipped == {}
    # 50 of the tasks have no input: their prompt is the instruction alone.
    assert found.examples[0].prompt.startswith("Is there anything I can eat for a breakfast")
