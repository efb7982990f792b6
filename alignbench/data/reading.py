"""Records of a data source: a file, all files of a folder, or a dataset on the hub."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignbench.data.found import Malformed
from alignbench.errors import UserError, printable
from alignbench.scoring.records import KINDS, read_entries

MALFORMED_SHOWN = 5
NOT_RECORDS = (".meta.json", "dataset_info.json", "dataset_infos.json")
"""Files that stand beside data and hold none."""


@dataclass(frozen=True)
class Line:
    """One record and its place, such as ``pairs.jsonl:12``; `problem` where it is none."""

    values: dict[str, Any]
    place: str
    problem: str = ""


class Complaints:
    """Malformed records of a source, told together once all are known."""

    def __init__(self, form: str) -> None:
        self.form = form
        self.shown: list[str] = []
        self.more = 0

    def add(self, place: str, problem: object) -> None:
        """Keep the first few, count the rest."""
        if len(self.shown) < MALFORMED_SHOWN:
            self.shown.append(f"{place}: {problem}")
        else:
            self.more += 1

    def stop(self) -> None:
        """Raise them, if there are any.

        Raises:
            UserError: with the form that records must have.
        """
        if self.shown:
            more = [f"… and {self.more} more malformed records"] if self.more else []
            raise UserError(*self.shown, *more, f"each record must be {self.form}")


def each(path: str, form: str, take: Callable[[dict[str, Any]], None]) -> None:
    """Hand every record of a source to `take`, which raises `Malformed` for what is not in form.

    Args:
        path: as `read_lines` takes it.
        form: what a record must look like, for the message.

    Raises:
        UserError: nothing there, no record at all, or malformed ones, all of them together.
    """
    complaints = Complaints(form)
    empty = True
    for line in read_lines(path):
        empty = False
        if line.problem:
            complaints.add(line.place, line.problem)
            continue
        try:
            take(line.values)
        except Malformed as error:
            complaints.add(line.place, error)
    complaints.stop()
    if empty:
        raise UserError(f"{printable(path)}: no record in it; each must be {form}")


def read_lines(path: str) -> Iterator[Line]:
    """Records of a local file, of all files under a folder, or of a hub dataset's split train.

    Raises:
        UserError: nothing there, an unreadable file, or the hub cannot be reached.
    """
    local = Path(path).expanduser()
    try:
        there = local.exists()
    except OSError as error:  # a name longer than names may be, or a folder not to be entered
        raise UserError(
            f"data.path: {printable(path[:200])} cannot be read: {error.strerror or error}"
        ) from error
    if there:
        for file in _files(local):
            yield from _read_file(file)
    elif looks_local(path):
        raise UserError(f"data.path: there is no file or folder {printable(path)}")
    else:
        yield from _read_hub(path)


def looks_local(path: str) -> bool:
    """Whether a path is meant as one, there or not; else it names a data set on the hub."""
    return path.startswith((".", "/", "~")) or path.lower().endswith((*KINDS, ".gz"))


def _kind(path: Path) -> str | None:
    name = path.name.lower().removesuffix(".gz")
    return next((kind for kind in KINDS if name.endswith(kind)), None)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(
        file
        for file in path.rglob("*")
        if file.is_file()
        and _kind(file)
        and not file.name.endswith(NOT_RECORDS)
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not files:
        kinds = ", ".join(KINDS)
        raise UserError(f"data.path: no data file ({kinds}, also .gz) in {printable(str(path))}")
    return files


def _read_file(path: Path) -> Iterator[Line]:
    if _kind(path) == ".jsonl":
        yield from _json_lines(path)
        return
    try:
        entries = read_entries(path)
    except zlib.error as error:
        raise UserError(f"{printable(str(path))}: damaged .gz file ({error})") from error
    for entry in entries:
        yield Line({key: _plain(value) for key, value in entry.values.items()}, entry.place)


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    name = printable(str(path))
    try:
        yield
    except (gzip.BadGzipFile, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UserError(f"{name}: not a readable UTF-8 .jsonl file: {error}") from error
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror or error}") from error


def _json_lines(path: Path) -> Iterator[Line]:
    """Line by line, since these files are the large ones."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    name = printable(str(path))
    with _file_errors(path), opener(path, "rt", encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _json_line(line, f"{name}:{number}")


def _json_line(line: str, place: str) -> Line:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        return Line({}, place, f"not JSON ({error.msg} at column {error.colno})")
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits; deep nesting
        return Line({}, place, f"not JSON that can be read ({error})")
    if not isinstance(values, dict):
        return Line({}, place, "not a JSON object")
    return Line(values, place)


def _read_hub(name: str) -> Iterator[Line]:
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        rows: Any = datasets.load_dataset(name, split="train")
    except (OSError, ValueError, DatasetsError) as error:
        raise UserError(
            f'data.path: cannot load "{printable(name)}" from the Hugging Face hub '
            f"({type(error).__name__}: {error}); without network set data.path to a local "
            f"{', '.join(KINDS)} or .gz file of it, or to a folder with such files"
        ) from error
    for number, row in enumerate(rows):
        yield Line(dict(row), f"{name}: row {number}")


def _plain(value: Any) -> Any:
    """Parquet's arrays as lists, its missing values as None."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # numpy's arrays and scalars
        return _plain(value.tolist())
    return None if isinstance(value, float) and value != value else value
