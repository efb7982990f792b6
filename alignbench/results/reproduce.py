"""The commands that make a run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignbench.leaderboard.texts import is_place

UNKNOWN_SETTINGS = "# and every --set of that run: a result cannot tell them from the recipe file"
"""So that nobody takes the commands for more than they are."""


def commands(recipe: Mapping[str, Any], commit: str | None = None) -> list[str]:
    """How to make a run again, without places of this machine.

    Args:
        recipe: resolved.
        commit: of alignbench, where it is known.
    """
    known = (commit or "").partition("+")[0]
    name, data, model = recipe["name"], recipe.get("data") or {}, recipe.get("model") or {}
    local = [
        f" --set {section}.path=PATH"
        for section, settings in (("model", model), ("data", data))
        if is_place(str(settings.get("path", "")))
    ]
    seeds = ",".join(map(str, recipe.get("seeds") or []))
    return [
        *([f"git checkout {known}"] if known else []),
        f"alignbench run recipes/{name}.yaml --profile {recipe['profile']}"
        f" --methods {','.join(recipe['methods'])}"
        + (f" --seeds {seeds}" if seeds else "")
        + "".join(local),
        UNKNOWN_SETTINGS,
    ]
