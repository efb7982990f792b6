"""Conversations as other projects write them, as the messages of this one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from alignbench.data.dialogue import ASSISTANT, HUMAN, as_prompt, turns
from alignbench.data.found import Malformed, Unusable
from alignbench.errors import nearest, printable

Message = dict[str, str]
ROLES = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "system": "system",
}
"""What OpenAI, ShareGPT and OpenAssistant call the sides."""


def text(values: dict[str, Any], key: str) -> str:
    """The text under a key.

    Raises:
        Malformed: there is none, naming the nearest key.
    """
    value = values.get(key)
    if isinstance(value, str):
        return value
    if key in values:
        raise Malformed(f'no text under "{key}" but {kind(value)}')
    keys = [str(name) for name in values]
    listed = ", ".join(printable(name[:40]) for name in keys[:20]) or "nothing"
    raise Malformed(f'no text under "{key}"{nearest(key, keys)}; this record has: {listed}')


def kind(value: Any) -> str:
    """What a value of JSON is, in words."""
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false"}
    return "nothing" if value is None else names.get(type(value), "a number")


def finite(value: Any) -> bool:
    """Whether a value of JSON is a number, and neither infinite nor NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


def items(value: Any, key: str, each: type, what: str) -> list[Any]:
    """A list of which every item is of one type.

    Raises:
        Malformed: no list, or saying which item is something else.
    """
    if not isinstance(value, list):
        raise Malformed(f'"{key}" must be a list of {what}; found {kind(value)}')
    for number, item in enumerate(value, start=1):
        if not isinstance(item, each):
            raise Malformed(f'"{key}" must be a list of {what}; item {number} is {kind(item)}')
    return value


def messages(value: Any, key: str) -> list[Message]:
    """``[{role, content}]`` or ShareGPT's ``[{from, value}]``, with the roles of this project.

    Raises:
        Malformed: another form.
        Unusable: a side that is neither user, assistant nor system, or content that is not text.
    """
    if not items(value, key, dict, "messages"):
        raise Unusable("empty conversation")
    return [_message(each, key) for each in value]


def _message(value: dict[str, Any], key: str) -> Message:
    role = value.get("role", value.get("from"))
    content = value.get("content", value.get("value"))
    if not isinstance(role, str):
        raise Malformed(f'a message of "{key}" has neither "role" nor "from"')
    if role.lower() not in ROLES:
        raise Unusable("a turn by neither user nor assistant")
    if isinstance(content, list):  # parts, as multimodal chats have them
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if any(not isinstance(part, str) for part in parts):
            raise Unusable("a turn that is more than text")
        content = "\n\n".join(str(part) for part in parts)
    if not isinstance(content, str):
        raise Malformed(f'a message of "{key}" has no text under "content" or "value"')
    return {"role": ROLES[role.lower()], "content": content}


def prompt_of(before: Sequence[Message]) -> str:
    """The prompt that these messages are.

    Raises:
        Unusable: they are none, or cannot be written as one.
    """
    spoken = _joined([message for message in before if message["role"] != "system"])
    if not spoken:
        raise Unusable("empty prompt")
    if spoken[0]["role"] != "user":
        raise Unusable("begins with the assistant")
    if spoken[-1]["role"] != "user":
        raise Unusable("two turns of the assistant in a row")
    if not all(message["content"].strip() for message in spoken):
        raise Unusable("an empty turn")
    try:
        return as_prompt([*(m for m in before if m["role"] == "system"), *spoken])
    except ValueError:
        raise Unusable("a turn with a turn marker of the dialogue form in its text") from None


def _joined(spoken: Sequence[Message]) -> list[Message]:
    """Turns in a row by one side as one turn, as `turns` has them."""
    joined: list[Message] = []
    for message in spoken:
        if joined and joined[-1]["role"] == message["role"]:
            both = f"{joined[-1]['content']}\n\n{message['content']}"
            joined[-1] = {"role": message["role"], "content": both}
        else:
            joined.append(message)
    return joined


def plain_prompt(value: str) -> str:
    """A prompt given as text, without the markers that stand around it in the dialogue form.

    Raises:
        Unusable: the last to speak in it is the assistant.
    """
    prompt = value.strip().removeprefix(HUMAN.lstrip()).removesuffix(ASSISTANT).strip()
    if turns(prompt)[-1]["role"] != "user":
        raise Unusable("the prompt ends with the assistant")
    return prompt


def answered(conversation: Sequence[Message]) -> Iterator[tuple[str, str]]:
    """(prompt, answer) for every turn of the assistant, each with all that was said before.

    Raises:
        Unusable: the conversation cannot be written as prompts, or has no answer.
    """
    found = [
        (prompt_of(conversation[:n]), message["content"])
        for n, message in enumerate(conversation)
        if message["role"] == "assistant"
    ]
    if not found:
        raise Unusable("no turn of the assistant")
    yield from found
