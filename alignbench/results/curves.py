"""Training curves, thinned to what a small plot can show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alignbench.files import read_jsonl

#: Quantities worth a plot when a method logs them.
SHOWN = (
    "reward_raw",
    "sequence_kl",
    "sampled_entropy",
    "rewards_accuracies",
    "rewards_margins",
    "loss",
)
MAX_POINTS = 60


def training_curves(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """(step, value) points of a training run's log.jsonl, by quantity, at most 60 each."""
    path = folder / "log.jsonl"
    lines: list[dict[str, Any]] = read_jsonl(path) if path.exists() else []
    curves = {}
    for name in SHOWN:
        points = [
            (float(line["step"]), float(line[name]))
            for line in lines
            if isinstance(line.get(name), int | float)
        ]
        if len(points) > 1:
            every = -(-len(points) // MAX_POINTS)
            curves[name] = points[::every]
    return curves
