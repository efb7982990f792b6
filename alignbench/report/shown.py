"""Figures as texts; what is unknown is a dash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Record = dict[str, Any]
UNKNOWN = "–"


def percent(figure: Mapping[str, Any]) -> Record:
    """A share in percent, its bounds, and of how many."""
    return _shown(figure, 1, " %")


def interval(figure: Mapping[str, Any]) -> Record:
    """A number without unit, its bounds, and of how many."""
    return _shown(figure, 2, "")


def decimal(value: float | None) -> str:
    """A coefficient, two decimals."""
    return UNKNOWN if value is None else f"{value:.2f}"


def _shown(figure: Mapping[str, Any], decimals: int, unit: str) -> Record:
    bounds = UNKNOWN
    if figure["low"] is not None:
        bounds = f"{figure['low']:.{decimals}f} to {figure['high']:.{decimals}f}"
    value = figure["value"]
    return {
        "value": UNKNOWN if value is None else f"{value:.{decimals}f}{unit}",
        "bounds": bounds,
        "n": figure.get("n") or UNKNOWN,
    }
