"""Where a model lies on this machine's disk, and what tells it from every other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from alignbench.digest import sha256_file, sha256_json
from alignbench.errors import UserError
from alignbench.models.package import PACKAGE, package_folder

_COMMIT = re.compile(r"[0-9a-f]{40}")
# Weights, settings, tokenizer and chat template; no pickles, and no code.
_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")


@dataclass(frozen=True)
class ModelFolder:
    """A model on this machine's disk.

    Attributes:
        folder: of transformers.
        name: without its place.
        identity: name and commit on the hub, or a digest of the files.
        window: positions it has; None: no limit known.
    """

    folder: Path
    name: str
    identity: Mapping[str, Any]
    window: int | None


def find_model(model: str, revision: str) -> ModelFolder:
    """The judge's model: a folder, ``package:<PyPI package>``, or one of the hub.

    What is of the hub is downloaded, unless it is in the local cache.

    Raises:
        UserError: it is none of these.
    """
    if model.startswith(PACKAGE):
        folder = package_folder(model.removeprefix(PACKAGE))
        identity = {"model": model, "model_sha256": folder_digest(folder)}
        return ModelFolder(folder, model.removeprefix(PACKAGE), identity, _window(folder))
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(f"judge.model: {folder} is no model folder (it has no config.json)")
        identity = {"model_sha256": folder_digest(folder)}
        return ModelFolder(folder, folder.resolve().name, identity, _window(folder))
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise UserError(f"judge.model: there is no folder {model}")
    folder = hub_snapshot(model, revision, "judge.model")
    commit = folder.name if _COMMIT.fullmatch(folder.name) else folder_digest(folder)
    identity = {"model": model, "revision": commit}
    return ModelFolder(folder, model.rsplit("/", 1)[-1], identity, _window(folder))


def folder_digest(folder: Path) -> str:
    """SHA-256 over names and bytes of all files that decide what the model says."""
    files = {path.name: path for pattern in _FILES for path in folder.glob(pattern)}
    return sha256_json({name: sha256_file(path) for name, path in files.items()})


def hub_snapshot(model: str, revision: str, key: str) -> Path:
    """Folder of a model of the hub: downloaded, or found in the local cache.

    Args:
        model: name on the hub.
        revision: branch, tag or commit.
        key: of the recipe, for messages.

    Raises:
        UserError: no such model, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(_FILES)))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise UserError(
            f'{key}: cannot load "{model}" (revision "{revision}") from the Hugging Face '
            f"hub: {str(error).splitlines()[0]}\n"
            "  Without network, run with `--profile cpu` where the recipe has one, or name a local "
            "transformers folder."
        ) from error


def _window(folder: Path) -> int | None:
    try:
        config = AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        ).get_text_config()
    except (OSError, ValueError) as error:
        raise UserError(
            f"judge.model: {folder / 'config.json'} is no configuration that transformers knows: "
            f"{str(error).splitlines()[0]}"
        ) from error
    found = getattr(config, "max_position_embeddings", None)
    return found if isinstance(found, int) else None
