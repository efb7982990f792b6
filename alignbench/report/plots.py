"""Geometry of the report's small inline SVG plots; the template only draws it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Geometry = dict[str, Any]

LABEL, PLOT, RIGHT, LINE, TOP = 96, 300, 14, 26, 12
CURVE_WIDTH, CURVE_HEIGHT, CURVE_LEFT, CURVE_BOTTOM = 220, 110, 44, 18


def interval_plot(
    rows: Sequence[Mapping[str, Any]], title: str, decimals: int, marks: Sequence[float] = ()
) -> Geometry | None:
    """Dots with whiskers, one line a row; None when no row has a value.

    Args:
        rows: rows of results.json of one metric.
        title: what is plotted, with its unit.
        decimals: of the printed numbers.
        marks: values with a vertical line (50 % of a win rate).
    """
    known = [row for row in rows if row["value"] is not None]
    if not known:
        return None
    ends = [
        bound
        for row in known
        for bound in (row["value"], row["low"], row["high"])
        if bound is not None
    ]
    ticks = nice_ticks(min(*ends, *marks), max(*ends, *marks))
    low, high = min(ticks[0], *ends, *marks), max(ticks[-1], *ends, *marks)

    def x(value: float) -> float:
        return round(float(LABEL + PLOT * (value - low) / (high - low)), 1)

    height = TOP + LINE * len(known)
    return {
        "title": title,
        "width": LABEL + PLOT + RIGHT,
        "height": height + 22,
        "axis": height,
        "top": TOP,
        "left": LABEL,
        "right": LABEL + PLOT,
        "ticks": [{"x": x(tick), "text": f"{tick:g}"} for tick in ticks],
        "marks": [x(mark) for mark in marks],
        "rows": [
            {
                "model": row["model"],
                "y": TOP + LINE * number + LINE / 2,
                "x": x(row["value"]),
                "low": None if row["low"] is None else x(row["low"]),
                "high": None if row["high"] is None else x(row["high"]),
                "text": f"{row['value']:.{decimals}f}",
            }
            for number, row in enumerate(known)
        ],
    }


def curve_plot(title: str, lines: Mapping[str, Sequence[Sequence[float]]]) -> Geometry | None:
    """Training curves of one quantity, one line for each seed; None without a point."""
    points = [point for line in lines.values() for point in line]
    if not points:
        return None
    left, right = min(p[0] for p in points), max(p[0] for p in points)
    low, high = min(p[1] for p in points), max(p[1] for p in points)
    wide, tall = (right - left) or 1.0, (high - low) or 1.0

    def at(point: Sequence[float]) -> str:
        x = CURVE_LEFT + (CURVE_WIDTH - CURVE_LEFT - 4) * (point[0] - left) / wide
        y = 4 + (CURVE_HEIGHT - CURVE_BOTTOM - 8) * (high - point[1]) / tall
        return f"{x:.1f},{y:.1f}"

    return {
        "title": title,
        "width": CURVE_WIDTH,
        "height": CURVE_HEIGHT,
        "left": CURVE_LEFT,
        "bottom": CURVE_HEIGHT - CURVE_BOTTOM,
        "low": f"{low:.3g}",
        "high": f"{high:.3g}",
        "first": f"{left:g}",
        "last": f"step {right:g}",
        "lines": [
            {"seed": seed, "points": " ".join(at(point) for point in line)}
            for seed, line in lines.items()
        ],
    }


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) that span [low, high], about `about` steps."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]
