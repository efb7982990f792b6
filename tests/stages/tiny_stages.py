"""Running a stage on the world of `tests.tiny`, outside the executor."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from alignbench.stage import StageContext

LIMITS: dict[str, Any] = {"max_prompt_tokens": 8, "max_response_tokens": 8, "precision": "fp32"}
Notes = list[tuple[str, str]]


def run_stage(
    run: Callable[[StageContext], None],
    out: Path,
    config: dict[str, Any],
    inputs: dict[str, Path],
) -> Notes:
    """Run a stage into the new folder `out`; returns its notes."""
    out.mkdir(parents=True)
    notes: Notes = []
    run(
        StageContext(
            out=out,
            config={**LIMITS, **config},
            inputs=inputs,
            progress=lambda done, total, **metrics: None,
            note=lambda kind, message: notes.append((kind, message)),
        )
    )
    return notes


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def metrics(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return found


def files(out: Path) -> set[str]:
    """Files of a stage's output, those of its model folder as ``model/``."""
    paths = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    return {"model/" if p.startswith("model/") else p for p in paths}
