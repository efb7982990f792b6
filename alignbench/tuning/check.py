"""What can be wrong with the `tuning` of a recipe, found before anything runs. Imports no torch."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from alignbench.errors import UserError, nearest
from alignbench.metering.currencies import TIME, WORK
from alignbench.methods.registry import RESERVED, resolve
from alignbench.tuning.space import (
    Choice,
    Dimension,
    Range,
    flattened,
    is_number,
    parse,
    replaced,
)

Problem = tuple[tuple[object, ...], str]
COMBINATIONS = 512
"""Settings of a row that are validated together at most; beyond, each option by itself."""


def problems(tuning: Mapping[str, Any], methods: Mapping[str, Any]) -> Iterator[Problem]:
    """(key path below `tuning`, message) of what the schema cannot see.

    Args:
        tuning: the section as written.
        methods: row -> options as written. Rows with errors of their own are passed over.
    """
    search = tuning.get("search")
    yield from _budget(tuning.get("budget"))
    if not isinstance(search, Mapping):
        return  # the schema says so
    for row in search:
        if row not in methods:
            rows = f"{nearest(str(row), methods)}; rows: {', '.join(methods)}"
            yield ("search", row), f"there is no such row{rows}"
    for row, options in methods.items():
        if row not in search:
            yield (
                ("search",),
                f"row {row} is missing, and all rows are tuned alike; name what to search, or "
                f"write {row}: {{}} to train it with its own values and show it as not tuned",
            )
        elif isinstance(search[row], Mapping) and isinstance(options, Mapping):
            for path, message in _row(row, search[row], options, tuning.get("trials")):
                yield ("search", row, *path), message
    if search and not any(search.values()):
        yield ("search",), "nothing is searched; name an option of a row, or leave tuning out"


def _budget(budget: object) -> Iterator[Problem]:
    """A tuning budget is shared out among the trials, which only what is spent can be."""
    if not isinstance(budget, Mapping):
        return
    spent = {currency.replace("_seconds", "_hours") for currency in (*WORK, *TIME)}
    for currency in budget:
        if currency not in spent:
            message = f"trials cannot share {currency} out; of: {', '.join(sorted(spent))}"
            yield ("budget", currency), message


def _row(
    row: str, search: Mapping[str, Any], options: Mapping[str, Any], trials: object
) -> Iterator[Problem]:
    try:
        known = resolve(row, options).model_dump(mode="json")
    except (UserError, ValidationError):
        return  # reported with the row
    own, space = dict(flattened(known)), dict[str, Dimension]()
    wrong = False
    for name, written in search.items():
        found = list(_dimension(row, name, written, options, own))
        yield from found
        if found:
            wrong = True
        else:
            space[name] = parse(written)
    if wrong or not space:
        return
    size = math.prod(dimension.size() for dimension in space.values())
    if isinstance(trials, int) and size < trials:
        yield (), f"has {size:.0f} settings for {trials} trials; widen it, or take fewer trials"
    yield from _together(row, space, options)


def _dimension(
    row: str, name: str, written: object, options: Mapping[str, Any], own: Mapping[str, Any]
) -> Iterator[Problem]:
    if name not in own:
        near = nearest(name, own)
        yield (name,), f"no option of this row{near}; options: {', '.join(sorted(own))}"
        return
    try:
        dimension = parse(written)
    except ValueError as error:
        yield (name,), str(error)
        return
    if own[name] not in dimension:
        message = f"must include the row's own value ({json.dumps(own[name])}): the first trial"
        if isinstance(dimension, Range) and dimension.whole and is_number(own[name]):
            message += "; with whole low and high it has whole numbers only (write 1.0 for 1)"
        yield (name,), message
    for value in dimension.corners():
        if refused := _refused(row, options, {name: value}):
            place = (dimension.index(value),) if isinstance(dimension, Choice) else ()
            yield (name, *place), f"{json.dumps(value)} is no valid value: {refused}"


def _together(
    row: str, space: Mapping[str, Dimension], options: Mapping[str, Any]
) -> Iterator[Problem]:
    """Values that are each valid, but not with each other: the first such setting."""
    values = [_all_of(dimension) for dimension in space.values()]
    if math.prod(map(len, values)) > COMBINATIONS:
        values = [dimension.corners() for dimension in space.values()]
    for point in itertools.islice(itertools.product(*values), COMBINATIONS):
        params = dict(zip(space, point, strict=True))
        if refused := _refused(row, options, params):
            shown = ", ".join(f"{name}={json.dumps(value)}" for name, value in params.items())
            yield (), f"{shown} is no valid setting: {refused}"
            return


def _all_of(dimension: Dimension) -> tuple[Any, ...]:
    """Every value of a small dimension, else its corners."""
    if isinstance(dimension, Range) and dimension.size() <= COMBINATIONS:
        return tuple(range(int(dimension.low), int(dimension.high) + 1))
    return dimension.corners()


def _refused(row: str, options: Mapping[str, Any], params: Mapping[str, Any]) -> str | None:
    """Why the method's own class refuses these values; None if it takes them."""
    own = resolve(row, options)
    known = own.model_dump(mode="json")
    kept = {name: value for name, value in options.items() if name in RESERVED}
    try:
        changed = resolve(row, {**replaced(known, params), **kept})
    except ValidationError as error:
        texts = (detail["msg"] for detail in error.errors(include_url=False))
        return "; ".join(text.replace("Input should", "must").removeprefix("Value error, ")
                         for text in texts)  # fmt: skip
    if changed.needs_of() != own.needs_of() or (changed.decoder() is None) != (
        own.decoder() is None
    ):
        return "the method needs other inputs with it than with the row's own; make it a row"
    return None
