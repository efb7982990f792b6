"""Strict YAML into values that know their place, so that every later error can say file:line.

YAML has traps that change a value without a word: `on` is true, `5e-7` is text, `010` is eight, a
repeated key drops the first one, an alias can stand for gigabytes. Here each is an error, and all
of a file's errors are reported together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from alignbench.errors import UserError, printable
from alignbench.recipe.file import read_text
from alignbench.recipe.scalars import read_scalar

MAX_DEPTH = 50
MAX_NODES = 20_000

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_PLAIN_KEY = re.compile(r"[\w.-]{1,64}")


@dataclass(frozen=True)
class Node:
    """A value of a recipe and where it was written.

    Attributes:
        value: a mapping or list of nodes, or a scalar.
        place: ``recipes/x.yaml:12`` (the line of its key) or ``--set a.b``.
        unreadable: the value was refused and is None instead; nothing more need be said of it.
    """

    value: dict[str, Node] | list[Node] | str | int | float | bool | None
    place: str
    unreadable: bool = False

    def plain(self) -> Any:
        """The value as ordinary dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def child(self, key: object) -> Node | None:
        """The node below a mapping's key or a list's index; None when there is none."""
        if isinstance(self.value, dict) and isinstance(key, str):
            return self.value.get(key)
        if isinstance(self.value, list) and isinstance(key, int) and key < len(self.value):
            return self.value[key]
        return None


@dataclass
class Problems:
    """Errors found so far, each once, in the order found."""

    lines: dict[str, None] = field(default_factory=dict)

    def add(self, place: str, path: tuple[object, ...], message: str) -> None:
        """Record ``place: path: message``; `path` is left out where `place` already names it."""
        name = dotted(path)
        where = place if not name or place == f"--set {name}" else f"{place}: {name}"
        self.lines[f"{where}: {message}"] = None

    def stop(self) -> None:
        """Raise what has been found as one `UserError`, if anything has."""
        if self.lines:
            raise UserError(*self.lines)


def dotted(path: tuple[object, ...]) -> str:
    """``methods.ppo.learning_rate``; a key that could upset a terminal is quoted and escaped."""
    return ".".join(
        part if isinstance(part, str) and _PLAIN_KEY.fullmatch(part) else shown(part)
        for part in path
    )


def shown(value: object) -> str:
    """`value` on one short line, safe for a terminal."""
    text = printable(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= 60 else text[:57] + "..."


def merge(base: Node, over: Node) -> Node:
    """`over` laid on `base`: mappings are merged key by key, anything else is replaced."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    merged = dict(base.value)
    for key, child in over.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return Node(merged, over.place)


class _Stop(Exception):
    """The rest of the document cannot be read."""


class _Reader:
    """Events of one document into nodes. A place is a fixed text, or the line of the event."""

    def __init__(self, text: str, name: str, fixed: bool, problems: Problems) -> None:
        self.name, self.fixed, self.problems = name, fixed, problems
        self.loader: Any = yaml.SafeLoader(text)  # parts of its API are untyped
        self.events = self._events()
        self.nodes = 0

    def _events(self) -> Iterator[Any]:
        while self.loader.check_event():
            yield self.loader.get_event()

    def place(self, event: Any) -> str:
        return self.name if self.fixed else f"{self.name}:{event.start_mark.line + 1}"

    def document(self) -> Node | None:
        """The first document's root; None when the stream is empty."""
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                root = self.node(next(self.events), (), None)
                break
        else:
            return None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.problems.add(
                    self.place(event), (), "a second document begins here; one recipe per file"
                )
                raise _Stop
        return root

    def node(self, event: Any, path: tuple[object, ...], place: str | None) -> Node:
        place = place or self.place(event)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.problems.add(
                self.place(event), (), f"more than {MAX_NODES:,} values; not a recipe"
            )
            raise _Stop
        if len(path) > MAX_DEPTH:
            self.problems.add(self.place(event), (), f"nested deeper than {MAX_DEPTH} levels")
            raise _Stop
        if isinstance(event, yaml.AliasEvent):
            self.problems.add(
                self.place(event), path, f"alias *{event.anchor}: write the value out"
            )
            return Node(None, place, unreadable=True)
        self._refuse_extras(event, path)
        if isinstance(event, yaml.MappingStartEvent):
            return Node(self.mapping(path), place)
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(self.sequence(path), place)
        try:
            return Node(self.scalar(event), place)
        except ValueError as error:
            self.problems.add(self.place(event), path, str(error))
            return Node(None, place, unreadable=True)

    def _refuse_extras(self, event: Any, path: tuple[object, ...]) -> None:
        if getattr(event, "anchor", None):
            message = f"anchor &{event.anchor}: anchors and aliases are not read; remove it"
            self.problems.add(self.place(event), path, message)
        tag = getattr(event, "tag", None)
        if tag:
            self.problems.add(
                self.place(event), path, f"tag {shown(tag)}: tags are not read; remove it"
            )

    def sequence(self, path: tuple[object, ...]) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.node(event, (*path, len(items)), None))
        return items

    def mapping(self, path: tuple[object, ...]) -> dict[str, Node]:
        children: dict[str, Node] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            place = self.place(event)
            key = self.key(event, path)
            below = (*path, key if key is not None else "?")
            child = self.node(next(self.events), below, place)
            if key is None:
                continue
            if key in children:
                first = children[key].place
                self.problems.add(place, below, f"duplicate key; it is already given at {first}")
            else:
                children[key] = child
        return children

    def key(self, event: Any, path: tuple[object, ...]) -> str | None:
        """The text of a key; None (and a problem) when it is no text."""
        if not isinstance(event, yaml.ScalarEvent):
            self.node(event, (*path, "?"), None)
            self.problems.add(self.place(event), path, "a key must be plain text")
            return None
        self._refuse_extras(event, path)
        tag = self._tag(event)
        if tag == "merge":
            self.problems.add(
                self.place(event), path, "merge key <<: recipes do not inherit; write the keys out"
            )
            return None
        if tag in ("bool", "null", "int", "float", "timestamp"):
            message = f"key {shown(event.value)} is not read as text; put it in quotes"
            self.problems.add(self.place(event), path, message)
            return None
        return str(event.value)

    def _tag(self, event: Any) -> str:
        """``str``, ``int``, ...: the type that YAML 1.1 sees in a scalar."""
        tag: str = self.loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        return tag.rpartition(":")[2]

    def scalar(self, event: Any) -> str | int | float | bool | None:
        if control := _CONTROL.search(event.value):
            raise ValueError(f"control character U+{ord(control.group()):04X} in text; remove it")
        if not event.implicit[0]:  # quoted, block, or with a tag that has been refused
            return str(event.value)
        return read_scalar(event.value, self._tag(event))


def _parse(text: str, name: str, fixed: bool, problems: Problems) -> Node | None:
    """The value of `text`; None when there is none or it could not be read (a problem then)."""
    try:
        return _Reader(text, name, fixed, problems).document()
    except _Stop:
        return None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        place = name if fixed else f"{name}:{line}"
        code = error.character if isinstance(error.character, int) else ord(error.character)
        problems.add(place, (), f"control character U+{code:04X} is not allowed; remove it")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = name if fixed or mark is None else f"{name}:{mark.line + 1}"
        told = ": ".join(part for part in (error.context, error.problem) if part)
        problems.add(place, (), f"not valid YAML: {told}")
    return None


def parse_value(text: str, place: str, problems: Problems) -> Node:
    """The value of a ``--set`` argument, read by the same rules as a file."""
    return _parse(text, place, True, problems) or Node(None, place, unreadable=True)


def read_file(path: Path, problems: Problems) -> Node:
    """The mapping in a recipe file; values that are refused go to `problems`, as unreadable nodes.

    Raises:
        UserError: when nothing more can be read, with the problems so far.
    """
    text = read_text(path)
    root = _parse(text, str(path), False, problems)
    if root is None or root.value is None:
        problems.stop()
        raise UserError(
            f"{path}: empty; a recipe is a mapping with the keys name, model, data, ..."
        )
    if not isinstance(root.value, dict):
        raise UserError(f"{path}: a recipe is a mapping (key: value), not {shown(root.plain())}")
    return root
