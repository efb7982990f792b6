"""The files every data source writes, whatever it reads (see `alignbench.stages.data`)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]

PREFERENCE_FILES = (
    "pairs_proxy",
    "pairs_proxy_valid",
    "pairs_gold",
    "pairs_gold_valid",
)
FILES = (
    "heldout",
    "sft",
    "sft_valid",
    "train_prompts",
    *PREFERENCE_FILES,
    "valid_prompts",
    "eval_prompts",
)
"""Files of every source; the sandbox adds ``corpus``."""
VALID_SHARE = 1 / 6
"""Size of a validation part, on top of what the recipe asks for."""


@dataclass
class Dataset:
    """All rows of a data stage.

    Attributes:
        rows: file name without ``.jsonl`` -> its rows.
        summary: figures beside the counts, which `write` adds.
        notes: warnings for whoever runs the stage.
    """

    rows: dict[str, list[Row]] = field(default_factory=dict)
    summary: Row = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write one ``.jsonl`` a file, and ``summary.json`` with counts and families."""
        for name, rows in self.rows.items():
            write_jsonl(folder / f"{name}.jsonl", rows)
        summary = {
            "counts": {name: len(rows) for name, rows in self.rows.items()},
            "families": {
                name: dict(sorted(Counter(row["family"] for row in rows).items()))
                for name, rows in self.rows.items()
                if rows and "family" in rows[0]
            },
            **self.summary,
        }
        text = json.dumps(summary, indent=2, ensure_ascii=False)
        (folder / "summary.json").write_text(text + "\n", encoding="utf-8")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, UTF-8."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def numbered(prefix: str, rows: Sequence[Row]) -> list[Row]:
    """The rows with an ``id`` in front: ``<prefix>-00000`` and so on."""
    return [{"id": f"{prefix}-{i:05d}", **row} for i, row in enumerate(rows)]
