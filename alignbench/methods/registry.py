"""Finding methods: built in, by entry point, or as ``package.module:Class`` in the recipe.

Only the modules of methods that are asked for are imported; none of them imports torch on import.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from alignbench.errors import UserError, nearest
from alignbench.methods.base import Method

BUILTIN: Mapping[str, str] = {
    "reinforce": "alignbench.methods.reinforce:Reinforce",
    "ppo": "alignbench.methods.ppo:PPO",
    "dpo": "alignbench.methods.dpo:DPO",
    "ipo": "alignbench.methods.ipo:IPO",
    "kto": "alignbench.methods.kto:KTO",
    "orpo": "alignbench.methods.orpo:ORPO",
    "simpo": "alignbench.methods.simpo:SimPO",
    "grpo": "alignbench.methods.grpo:GRPO",
    "online_dpo": "alignbench.methods.online_dpo:OnlineDPO",
    "rlaif": "alignbench.methods.rlaif:RLAIF",
    "best_of_n": "alignbench.methods.best_of_n:BestOfN",
}
GROUP = "alignbench.methods"
RESERVED = ("uses", "budget")
"""Keys of a row that are the harness's and not the method's."""


def _table() -> dict[str, str]:
    """Name -> ``module:Class`` of every known method; a clash of names is an error."""
    table = dict(BUILTIN)
    owners = dict.fromkeys(BUILTIN, "alignbench")
    for point in importlib.metadata.entry_points(group=GROUP):
        owner = point.dist.name if point.dist is not None else "an unknown package"
        if point.name in table:
            raise UserError(
                f'method "{point.name}" is offered by both {owners[point.name]} and {owner}; '
                f"uninstall one, or name the class in the recipe: uses: package.module:Class"
            )
        table[point.name], owners[point.name] = point.value, owner
    return table


def names() -> list[str]:
    """Names of all methods that a recipe can use without `uses`."""
    return sorted(_table())


def load_class(where: str) -> type[Method]:
    """The method class at ``package.module:Class``.

    Raises:
        UserError: the module does not import, or has no such `Method` class.
    """
    module_name, _, class_name = where.partition(":")
    if not module_name or not class_name:
        raise UserError(f'"{where}" does not name a class; write package.module:Class')
    try:
        found = getattr(importlib.import_module(module_name), class_name, None)
    except Exception as error:  # a plug-in may fail in any way; the user must see which one
        raise UserError(
            f"method {where}: importing {module_name} failed: {type(error).__name__}: {error}; "
            f"repair or uninstall the package that provides it"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise UserError(f"method {where}: {class_name} is not an alignbench.methods.base.Method")
    return found


def method_class(row: str, options: Mapping[str, Any]) -> type[Method]:
    """The class behind a recipe's row: its ``uses``, or the method of the row's own name."""
    uses = options.get("uses", row)
    if not isinstance(uses, str):
        raise UserError(f"methods.{row}.uses: must be a method's name or package.module:Class")
    if ":" in uses:
        return load_class(uses)
    table = _table()
    if uses not in table:
        known = ", ".join(sorted(table))
        raise UserError(
            f'methods.{row}: unknown method "{uses}"{nearest(uses, table)}; known: {known}; '
            f"or give uses: package.module:Class"
        )
    return load_class(table[uses])


def resolve(row: str, options: Mapping[str, Any]) -> Method:
    """The validated method of a recipe's row.

    Raises:
        UserError: no such method.
        pydantic.ValidationError: its options are wrong.
    """
    own = {key: value for key, value in options.items() if key not in RESERVED}
    return method_class(row, options).model_validate(own)


def describe() -> list[tuple[str, str, list[str], dict[str, Any]]]:
    """(name, one-line summary, needs, JSON schema of the options) of every known method."""
    rows = []
    for name, where in sorted(_table().items()):
        cls = load_class(where)
        summary = (cls.__doc__ or "").strip().splitlines()[0]
        needs = sorted(need.value for need in cls.needs)
        rows.append((name, summary, needs, cls.model_json_schema()))
    return rows
