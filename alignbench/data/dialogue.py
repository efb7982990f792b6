"""Dialogues as one text, and back: how prompts of several turns are written in this project.

The form is that of Anthropic HH-RLHF (Bai et al. 2022): turns begin with ``\\n\\nHuman:`` and
``\\n\\nAssistant:``. A prompt is such a dialogue up to the last human turn, without the leading
marker: a single question is just its text. Importing this module imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
_ROLES = {HUMAN: "user", ASSISTANT: "assistant"}
_MARKERS = {"user": HUMAN, "assistant": ASSISTANT}
_TURN = re.compile(f"({HUMAN}|{ASSISTANT})")


def turns(prompt: str) -> list[dict[str, str]]:
    """The messages (``role``, ``content``) of a prompt; turns of nothing but space are left out.

    Two turns in a row by the same side become one. Of a text without a word, one empty message.
    """
    parts = _TURN.split(f"{HUMAN} {prompt.removeprefix(HUMAN)}")[1:]
    messages: list[dict[str, str]] = []
    for marker, text in zip(parts[::2], parts[1::2], strict=True):
        if not (content := text.strip()):
            continue
        if messages and messages[-1]["role"] == _ROLES[marker]:
            messages[-1]["content"] += f"\n\n{content}"
        else:
            messages.append({"role": _ROLES[marker], "content": content})
    return messages or [{"role": "user", "content": ""}]


def as_prompt(messages: Sequence[Mapping[str, str]]) -> str:
    """The prompt that `turns` takes apart into these messages, contents stripped.

    But for system messages: they go in front of the first user turn, as chat templates without
    such a role have it.

    Args:
        messages: ``role`` (system, user or assistant) and ``content``; the first after any system
            message and the last are the user's.

    Raises:
        ValueError: another role, the order is wrong, or a text could not be told from turns: it
            is empty, holds a turn marker, or follows one by the same side.
    """
    system = [m["content"].strip() for m in messages if m["role"] == "system"]
    spoken = [
        {"role": m["role"], "content": m["content"].strip()}
        for m in messages
        if m["role"] != "system"
    ]
    if not spoken or spoken[0]["role"] != "user" or spoken[-1]["role"] != "user":
        raise ValueError("a prompt begins and ends with a user's message")
    text = ""
    for message in spoken:
        if message["role"] not in _MARKERS:
            raise ValueError(f'unknown role "{message["role"]}"')
        text += f"{_MARKERS[message['role']]} {message['content']}"
    text = text.removeprefix(HUMAN).strip()
    prompt = "\n\n".join([*filter(None, system), text])
    spoken[0]["content"] = "\n\n".join([*filter(None, system), spoken[0]["content"]])
    if turns(prompt) != spoken:
        raise ValueError("a message is empty, holds a turn marker, or follows one by its own side")
    return prompt
