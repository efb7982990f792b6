"""Which profile of a recipe this machine takes, why, and what that changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alignbench import machine
from alignbench.errors import UserError, nearest
from alignbench.recipe.document import Node, shown

AUTO = "auto"
DEFAULT = "default"


@dataclass(frozen=True)
class ProfileChoice:
    """The profile taken, the reason in one clause, and how it differs from the others."""

    name: str
    reason: str
    differences: tuple[str, ...]

    def sentence(self) -> str:
        """One line for the terminal, the run's record and the report."""
        changed = "".join(f" {difference}." for difference in self.differences)
        return f"Profile {self.name}: {self.reason}.{changed}"


def choose(asked: str, profiles: Mapping[str, Node]) -> ProfileChoice:
    """The profile that `asked` ("auto" or a name) stands for.

    Args:
        asked: value of ``--profile``.
        profiles: name -> recipe with that profile applied, not yet validated.

    Raises:
        UserError: no such profile, or "auto" cannot decide.
    """
    if asked != AUTO:
        if asked not in profiles:
            near, known = nearest(asked, profiles), ", ".join(profiles)
            raise UserError(
                f"--profile: unknown profile {shown(asked)}{near}; this recipe has: {known}"
            )
        name, reason = asked, "asked for by --profile"
    elif len(profiles) == 1:
        name, reason = next(iter(profiles)), "the recipe's only one"
    else:
        name, reason = _automatic(profiles)
    return ProfileChoice(name, reason, _differences(name, profiles))


def _automatic(profiles: Mapping[str, Node]) -> tuple[str, str]:
    why = "the recipe has no gpu profile"
    if "gpu" in profiles:
        usable, why = _gpu_usable(profiles["gpu"])
        if usable:
            return "gpu", f"chosen automatically, {why}"
    if "cpu" in profiles:
        return "cpu", f"chosen automatically, {why}"
    raise UserError(
        f"--profile auto: {why}, and the recipe has no cpu profile; "
        f"choose one with --profile: {', '.join(profiles)}"
    )


def _gpu_usable(node: Node) -> tuple[bool, str]:
    usable, device = machine.cuda()
    if not usable:
        return False, device
    available, model = _model_available(node)
    return available, f"{device}, {model}"


def _model_available(node: Node) -> tuple[bool, str]:
    """Whether the base model can be had here; a recipe too wrong to tell is taken as yes."""
    model = node.plain().get("model")
    if not isinstance(model, dict):
        return True, "model not readable"
    if model.get("source") == "path":
        folder = Path(str(model.get("path")))
        return folder.is_dir(), f"model folder {folder} {'found' if folder.is_dir() else 'missing'}"
    if model.get("source") != "hub":
        return True, "model made from scratch"
    name, revision = str(model.get("name")), str(model.get("revision", "main"))
    if machine.hub_cached(name, revision):
        return True, f"model {name} in the local hub cache"
    reached, why = machine.hub_reach(name)
    return reached, f"model {name} is not in the local hub cache and {why}"


def _differences(name: str, profiles: Mapping[str, Node]) -> tuple[str, ...]:
    """How model and data of profile `name` differ from those of every other profile."""
    own = {part: _describe(profiles[name], part) for part in ("model", "data")}
    told = []
    for other, node in profiles.items():
        if other == name:
            continue
        changes = [
            f"{part} {own[part]} instead of {theirs}"
            for part in own
            if (theirs := _describe(node, part)) != own[part]
        ]
        told.append(f"Unlike profile {other}: " + (", ".join(changes) or "same model and data"))
    return tuple(told)


def _describe(node: Node, part: str) -> str:
    """``hub gpt2``, ``scratch``, ``sandbox``: source and name of the model or the data."""
    section = node.plain().get(part)
    if not isinstance(section, dict):
        return "unknown"
    named = section.get("name") or section.get("path") or ""
    return f"{section.get('source', 'unknown')} {named}".strip()
