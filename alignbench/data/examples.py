"""Sources of SFT examples: ShareGPT's conversations, Alpaca's and self-instruct's instructions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from alignbench.data.found import Found, Unusable, example
from alignbench.data.messages import answered, items, messages, text
from alignbench.data.reading import each

CONVERSATIONS = ("conversations", "messages", "items")
SHAREGPT_FORM = '{"conversations": [{"from": "human", "value": …}, {"from": "gpt", "value": …}]}'
ALPACA_FORM = (
    '{"instruction": …, "input": …, "output": …} or {"instruction": …, '
    '"instances": [{"input": …, "output": …}]}'
)


def find_sharegpt(path: str) -> Found:
    """Every turn of the assistant, with all that was said before it as the prompt.

    Raises:
        UserError: unreadable data, or malformed records with their places.
    """
    return _find(path, SHAREGPT_FORM, _turns)


def find_alpaca(path: str) -> Found:
    """Instruction and input, two lines apart, as the prompt; every instance is an example.

    Alpaca: https://github.com/tatsu-lab/stanford_alpaca; self-instruct: Wang et al. 2022
    (arXiv:2212.10560).

    Raises:
        UserError: unreadable data, or malformed records with their places.
    """
    return _find(path, ALPACA_FORM, _instructions)


def _find(path: str, form: str, read: Callable[[dict[str, Any]], Iterator[Any]]) -> Found:
    found = Found(facts={"records read": 0})

    def take(values: dict[str, Any]) -> None:
        found.facts["records read"] += 1
        try:
            pairs = list(read(values))
        except Unusable as error:
            found.skipped[str(error)] += 1
            return
        for prompt, response in pairs:
            try:
                found.examples.append(example(prompt, response))
            except Unusable as error:
                found.skipped[str(error)] += 1

    each(path, form, take)
    return found


def _turns(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    name = next((key for key in CONVERSATIONS if values.get(key) is not None), None)
    if name is None:
        text(values, CONVERSATIONS[0])  # says what there is instead
    assert name is not None
    yield from answered(messages(values[name], name))


def _instructions(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    instruction = text(values, "instruction").strip()
    instances = values.get("instances")
    if instances is None:
        instances = [values]
    if not items(instances, "instances", dict, "mappings"):
        raise Unusable("no instance")
    for instance in instances:
        given = text(instance, "input").strip() if instance.get("input") is not None else ""
        yield "\n\n".join(filter(None, (instruction, given))), text(instance, "output")
