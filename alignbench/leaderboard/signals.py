"""What a training logged, in three numbers a quantity and seed: small enough to publish.

They tell more of a change than the scores do: a method with a wrong sign can score as before for
long, but its first step already pushes the wrong way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignbench.files import read_jsonl

Record = dict[str, Any]
SHARED = ("base", "sft")
"""Stages that train what all methods start from; they have one seed, the recipe's."""
_COUNTERS = frozenset({"step", "epoch", "flops", "spent_fraction", "num_tokens"})
_EXTREMES = ("completions_min", "completions_max", "clip_ratio_high_max", "clip_ratio_low_min")
_SIGNIFICANT = 6


def signals(folders: Mapping[str, Path], runs: Iterable[tuple[str, int]]) -> Record:
    """``training`` of an entry: row -> ``{"seeds", "quantities", "spent"}``.

    Args:
        folders: stage name -> folder; of rows without ``train/<row>/<seed>`` nothing is told.
        runs: (row, seed) in the order of the table.
    """
    found: dict[str, dict[int, Path]] = {
        name: {0: folders[name]} for name in SHARED if name in folders
    }
    for row, seed in runs:
        if (folder := folders.get(f"train/{row}/{seed}")) is not None:
            found.setdefault(row, {})[seed] = folder
    return {row: _row(list(seeds), list(seeds.values())) for row, seeds in found.items()}


def _row(seeds: Sequence[int], folders: Sequence[Path]) -> Record:
    logged = [_logged(folder / "log.jsonl") for folder in folders]
    names = sorted({name for log in logged for name in log})
    spent = [_spent(folder / "metrics.json") for folder in folders]
    currencies = sorted({name for bill in spent for name in bill})
    return {
        "seeds": list(seeds),
        "quantities": {
            name: {
                key: [_summary(log.get(name, []))[key] for log in logged]
                for key in ("first", "mean", "rms")
            }
            for name in names
        },
        "spent": {name: [bill.get(name) for bill in spent] for name in currencies},
    }


def _logged(path: Path) -> dict[str, list[float]]:
    """Values of every quantity in the order of the steps; extremes of a few answers left out."""
    found: dict[str, list[float]] = {}
    for line in read_jsonl(path) if path.exists() else []:
        for name, value in line.items():
            if name in _COUNTERS or name.startswith(("rewards__", *_EXTREMES)):
                continue
            if _is_number(value):
                found.setdefault(name, []).append(float(value))
    # The trainer's mean at the end, where a short training has logged no step.
    last = found.pop("train_loss", None)
    return {"loss": last, **found} if last else found


def _summary(values: Sequence[float]) -> dict[str, float | None]:
    """First value, mean and root mean square; None where nothing was logged."""
    if not values:
        return {"first": None, "mean": None, "rms": None}
    mean = math.fsum(values) / len(values)
    largest = max(map(abs, values))  # squares of huge values would overflow
    scaled = math.fsum((value / largest) ** 2 for value in values) if largest else 0.0
    rms = largest * math.sqrt(scaled / len(values))
    return {"first": _short(values[0]), "mean": _short(mean), "rms": _short(rms)}


def _spent(path: Path) -> dict[str, float]:
    consumed = json.loads(path.read_text(encoding="utf-8")).get("consumed", {})
    return {name: float(value) for name, value in consumed.items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        return False


def _short(value: float) -> float:
    return float(f"{value:.{_SIGNIFICANT}g}")
