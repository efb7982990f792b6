"""Reading and writing the small files of a run: JSON lines, and files that appear whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from alignbench.errors import UserError


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a UTF-8 file with one JSON object a line.

    Raises:
        UserError: a line that is not a JSON object, with file and line number.
    """
    records = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{path}:{number}: not JSON ({error.msg})") from error
            if not isinstance(record, dict):
                raise UserError(f"{path}:{number}: not a JSON object")
            records.append(record)
    return records


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line, UTF-8, floats in their shortest exact form, no NaN."""
    lines = [json.dumps(record, ensure_ascii=False, allow_nan=False) for record in records]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_atomic(path: Path, text: str) -> None:
    """Replace `path` by a complete UTF-8 file; a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
