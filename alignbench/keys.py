"""Keys of stages: one digest for everything that can change what a stage makes."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import cast

from alignbench.digest import sha256_file, sha256_json
from alignbench.errors import UserError
from alignbench.stage import Stage

SCHEMA = 1
LIBRARIES = (
    "torch",
    "transformers",
    "trl",
    "tokenizers",
    "accelerate",
    "datasets",
    "numpy",
    "scipy",
)
STAGE_NAME = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)*")


def kind_of(stage_name: str) -> str:
    """``train`` for ``train/ppo/0``.

    Raises:
        ValueError: the name has other characters than a-z, 0-9, _ between single slashes.
    """
    if not STAGE_NAME.fullmatch(stage_name):
        raise ValueError(f"stage name {stage_name!r} must be [a-z0-9_]+ parts joined by /")
    return stage_name.split("/")[0]


def stage_key(stage: Stage, input_keys: Mapping[str, str]) -> str:
    """Key of what `stage` makes from inputs with these keys (role -> key).

    The stage's name is not in it: two stages that do the same work share the result.
    """
    modules = sorted({stage.entry.partition(":")[0], *stage.code})
    return sha256_json(
        {
            "schema": SCHEMA,
            "entry": stage.entry,
            "config": stage.config,
            "threads": stage.threads,
            "inputs": dict(input_keys),
            "code": {module: source_digest(module) for module in modules},
            "versions": library_versions(),
        }
    )


@cache
def library_versions() -> Mapping[str, str | None]:
    """Installed versions of the libraries whose arithmetic results depend on."""
    versions: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


@cache
def source_digest(module: str) -> str:
    """Digest of a module's file, or of all files of a package, found without importing them.

    Raises:
        UserError: no such module, or it has no source file.
    """
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # a module without __spec__, such as __main__
        spec = None
    name = top
    for part in rest:
        name = f"{name}.{part}"
        if spec is None or spec.submodule_search_locations is None:
            spec = None
            break
        spec = importlib.machinery.PathFinder.find_spec(name, spec.submodule_search_locations)
    if spec is None or not (spec.has_location or spec.submodule_search_locations):
        raise UserError(f"module {module} cannot be found; is the package that has it installed?")
    if spec.submodule_search_locations is None:
        return sha256_file(Path(cast(str, spec.origin)))
    return sha256_json([_package_digest(Path(place)) for place in spec.submodule_search_locations])


def _package_digest(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
