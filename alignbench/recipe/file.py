"""The text of a recipe file, or a message that says what to do."""

from __future__ import annotations

from pathlib import Path

from alignbench.errors import UserError, nearest

MAX_BYTES = 1_000_000


def read_text(path: Path) -> str:
    """The UTF-8 text of `path`.

    Raises:
        UserError: missing (with the nearest recipe), unreadable, too large, or not text.
    """
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(_missing(path)) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise UserError(f"{path}: larger than {MAX_BYTES:,} bytes; not a recipe")
    if (at := raw.find(b"\0")) >= 0:
        raise UserError(f"{path}:{raw.count(10, 0, at) + 1}: NUL byte; a recipe is UTF-8 text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}:{line}: not UTF-8 (byte {raw[error.start]:#04x}); save the file as UTF-8"
        ) from error


def _missing(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"{path}: no such file, and no folder {folder}"
    found = dict.fromkeys(
        str(place / file.name)
        for place in (folder, Path("recipes"))
        for file in (sorted(place.iterdir()) if place.is_dir() else ())
        if file.suffix in (".yaml", ".yml")
    )
    stems = {Path(name).stem: name for name in found}
    close = nearest(path.stem, stems)
    if close:
        stem = close.split('"')[1]
        return f'{path}: no such file (did you mean "{stems[stem]}"?)'
    listed = ", ".join(found) or "none"
    return f"{path}: no such file; recipes here: {listed}"
