"""Which files of a folder are not what was recorded of them. Finds and names; repairs nothing.

This finds changes, by accident or by hand; it is no signature: who rewrites the record too, with
its seal, is not found out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from alignbench.digest import FileDigest, sha256_file


@dataclass(frozen=True)
class Change:
    """One file (or folder) that is not as recorded.

    Attributes:
        name: path in the folder, with forward slashes.
        what: how it differs, to follow the name: "changed", "missing", "is a symbolic link".
        extra: it was never recorded; nothing reads it.
    """

    name: str
    what: str
    extra: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.what}"


def digests(out: Path, names: Sequence[str]) -> dict[str, FileDigest]:
    """Digest of each of these files below `out` that is there as a plain file."""
    found = {}
    for name in names:
        path = out / name
        if kind_of(path) == "a file":
            found[name] = FileDigest(sha256=sha256_file(path), bytes=path.stat().st_size)
    return found


def changes(
    out: Path,
    files: Mapping[str, FileDigest],
    folders: Sequence[str],
    ignore: Collection[str] = (),
) -> list[Change]:
    """All differences between `out` and what was recorded of it.

    Args:
        out: the folder.
        files: recorded digests by path, each directly in `out` or in one of `folders`.
        folders: folders of `out` that hold recorded files.
        ignore: names that are not looked at.

    Returns:
        Recorded files first, by name, then what was never recorded. A folder that was not
        recorded counts as one; links are never followed.
    """
    broken = {
        folder: kind_of(out / folder)
        for folder in folders
        if kind_of(out / folder) not in ("a folder", "missing")
    }
    found = [
        Change(folder, f"is {kind} in place of a folder; the files in it were not looked at")
        for folder, kind in broken.items()
    ]
    for name in sorted(files.keys() - set(ignore)):
        if name.partition("/")[0] in broken and "/" in name:
            continue
        what = _difference(out / name, files[name])
        if what is not None:
            found.append(Change(name, what))
    known = {*files, *folders, *ignore}
    for place in ("", *(folder for folder in folders if folder not in broken)):
        found += [
            Change(name, "not a file of the run", extra=True)
            for name in _names(out, place)
            if name.rstrip("/") not in known
        ]
    return found


def is_inside(name: str, folders: Sequence[str]) -> bool:
    """Whether a recorded name is a plain file name, or one in one of `folders`."""
    parts = PurePosixPath(name).parts
    if not parts or "\0" in name or ".." in parts or "/".join(parts) != name:
        return False
    return len(parts) == 1 or (len(parts) == 2 and parts[0] in folders)


def _difference(path: Path, expected: FileDigest) -> str | None:
    kind = kind_of(path)
    if kind == "missing":
        return kind
    if kind != "a file":
        return f"is {kind} in place of a file"
    try:
        size = path.stat().st_size
        if size != expected["bytes"]:
            return f"changed (it has {size} bytes, the run wrote {expected['bytes']})"
        return None if sha256_file(path) == expected["sha256"] else "changed"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def kind_of(path: Path) -> str:
    """What is at a path, links not followed."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError as error:
        return f"unreachable ({error.strerror})"
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a symbolic link"}
    return kinds.get(stat.S_IFMT(mode), "a device, pipe or socket")


def _names(out: Path, place: str) -> Iterator[str]:
    """What lies directly in a folder, by path below `out`; folders end in a slash."""
    try:
        with os.scandir(out / place) as entries:
            ordered = sorted((e.name, e.is_dir(follow_symlinks=False)) for e in entries)
    except OSError:
        return
    for name, is_folder in ordered:
        yield f"{place}/{name}".lstrip("/") + ("/" if is_folder else "")
