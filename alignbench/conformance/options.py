"""The options with which a method is tried: its `example`, with what the user gives laid over it.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from alignbench.errors import UserError
from alignbench.methods.base import Method
from alignbench.recipe.document import Problems, dotted, parse_value, read_file


def given_options(settings: Sequence[str]) -> dict[str, Any]:
    """Options from the command line: each ``a.b=value`` (YAML) or the name of a YAML file.

    Raises:
        UserError: with everything that cannot be read.
    """
    problems = Problems()
    options: dict[str, Any] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if equals:
            # The node of the value under its path, from the inside out.
            found: Any = parse_value(value, f"--options {key}", problems).plain()
            for part in reversed(key.split(".")):
                found = {part: found}
        else:
            found = read_file(Path(text), problems).plain()
        if isinstance(found, Mapping):
            options = laid_over(options, found)
    problems.stop()
    return options


def laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, mappings merged key by key."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = laid_over(old, value)
        merged[key] = value
    return merged


def tiny_options(cls: type[Method], given: Mapping[str, Any]) -> dict[str, Any]:
    """The class's `example` with `given` laid over it.

    Raises:
        UserError: the class does not accept them; one line for each problem.
    """
    options = laid_over(cls.example, given)
    try:
        cls.model_validate(options)
    except ValidationError as error:
        problems = [
            f"{cls.__name__}: {dotted(found['loc']) or 'options'}: {found['msg']}"
            for found in error.errors()
        ]
        remedy = (
            f"tried with {options or 'no options'}: declare tiny options as the class attribute "
            "`example`, or give --options KEY=VALUE"
        )
        raise UserError(*problems, remedy) from error
    return options
