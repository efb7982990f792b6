"""Small data files for the tests of sources."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write(path: Path, rows: Iterable[Any]) -> Path:
    """JSON lines, gzipped where the name says so."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def said(*texts: str) -> list[dict[str, str]]:
    """Messages by user and assistant in turn, the user first."""
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


def pair(prompt: str = "Why?", chosen: str = "Yes.", rejected: str = "No.", **more: Any) -> Any:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}
