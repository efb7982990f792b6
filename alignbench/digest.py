"""Digests that say whether two settings, files or folders are the same: always SHA-256, in hex."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypedDict

from alignbench.errors import UserError


class FileDigest(TypedDict):
    """Content of one file: hex SHA-256 and size in bytes."""

    sha256: str
    bytes: int


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no canonical JSON form: {value!r}")


def canonical_json(value: object) -> str:
    """One text for equal JSON values: sorted keys, no spaces, ASCII, shortest float spelling.

    Raises:
        TypeError: for a value without a JSON form.
        ValueError: for NaN and infinities, which JSON lacks.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def sha256_json(value: object) -> str:
    """SHA-256 of `canonical_json(value)`."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of the bytes of `path`."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def tree_files(folder: Path) -> Iterator[Path]:
    """The plain files below `folder`, in sorted order of their parts.

    Raises:
        UserError: for a symbolic link, device, socket or pipe, whose content could change or lie
            outside the folder.
    """
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            yield from tree_files(Path(entry.path))
        elif stat.S_ISREG(mode):
            yield Path(entry.path)
        else:
            kind = "a symbolic link" if stat.S_ISLNK(mode) else "not a plain file"
            raise UserError(
                f"{entry.path}: is {kind}; only plain files and folders can be digested"
            )


def sha256_tree(folder: Path) -> dict[str, FileDigest]:
    """Digest of every file below `folder`, by path relative to it (with forward slashes)."""
    return {
        path.relative_to(folder).as_posix(): FileDigest(
            sha256=sha256_file(path), bytes=path.stat().st_size
        )
        for path in tree_files(folder)
    }
