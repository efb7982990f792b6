"""The last values of a training that goes on, from the log that its stage writes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignbench.metering.currencies import TIME, WORK
from alignbench.terminal.snapshot import Spent

LOG = "log.jsonl"
TAIL = 32_768
"""Bytes that are read from a log's end."""
LARGEST_SHARE = 1e6
SHOWN = {
    "loss": "loss",
    "eval_loss": "eval loss",
    "reward_raw": "reward",
    "sequence_kl": "KL",
    "rewards_accuracies": "accuracy",
    "accuracy": "accuracy",
    "rewards_margins": "margin",
    "margin": "margin",
}
"""Quantities of a log that are shown, in this order, and their short names."""
_SECONDS = {"device_hours": "device_seconds", "wall_hours": "wall_seconds"}


def last_values(folder: Path) -> dict[str, float]:
    """The last finite value of each quantity of ``log.jsonl``; {} where there is no log yet."""
    try:
        with (folder / LOG).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            content = file.read()
    except OSError:
        return {}
    values: dict[str, float] = {}
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue  # the first line may be cut
        if isinstance(record, dict):
            values |= {str(name): value for name, value in record.items() if _is_finite(value)}
    return values


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 and math.isfinite(value)


def shown(values: Mapping[str, float]) -> dict[str, float]:
    """Short name -> value of the quantities of a log that are shown."""
    found: dict[str, float] = {}
    for name, short in SHOWN.items():
        if name in values:
            found.setdefault(short, float(values[name]))
    return found


def spent(values: Mapping[str, float], config: Mapping[str, Any]) -> Spent | None:
    """Share of a method's budget by the last values of its log; None without a budget.

    The log does not name the currency: with several limits it is the one whose share agrees.
    """
    share, budget = values.get("spent_fraction"), config.get("budget")
    if share is None or not 0 <= share <= LARGEST_SHARE:
        return None
    limits = budget if isinstance(budget, Mapping) else {}
    named = {_SECONDS.get(name, name): float(limit) for name, limit in limits.items()}
    ending = {name: limit for name, limit in named.items() if name in (*WORK, *TIME)}
    if len(ending) == 1:
        return Spent(share=share, currency=next(iter(ending)))
    counted = {"flops": values.get("flops"), "optimizer_steps": values.get("step")}
    for name, count in counted.items():
        if count is not None and name in ending and math.isclose(count / ending[name], share):
            return Spent(share=share, currency=name)
    return Spent(share=share)


def spent_at_end(folder: Path) -> Spent | None:
    """What a finished training spent of its budget, and what ended it; None without a budget."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        if not metrics["budget"]["limits"]:
            return None
        return Spent(share=metrics["spent_fraction"], currency=metrics["ended"].get("currency"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
