"""A stage that does nothing but name its engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alignbench.stage import StageContext


def context(
    engine: str,
    progress: Callable[..., None] = lambda *_, **__: None,
    note: Callable[[str, str], None] = lambda *_: None,
) -> StageContext:
    return StageContext(Path("out"), {"engine": engine}, {}, progress, note)
