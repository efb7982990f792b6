"""The report's sections on quality along training: against budget, against KL, proxy against gold.

Charts of several rows share their axes, so that they can be compared by eye.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log, sqrt
from typing import Any

from alignbench.metering.currencies import COUNTED, LABELS, amount
from alignbench.report.charts import WIDE, Axes, Chart, Line, Point, line_chart
from alignbench.report.shown import UNKNOWN

Record = dict[str, Any]
QUANTITIES = (("reward_gold", "gold", 0), ("reward_proxy", "proxy", 1))
#: The curve of a fit is drawn through this many points.
FIT_POINTS = 40


def quality_section(results: Mapping[str, Any]) -> Record | None:
    """Charts and numbers of the budget curves; None for a run without snapshots."""
    curves = results.get("budget_curves") or {"rows": {}}
    # In the order of the table: a file has them by name, and colours go by place.
    rows = {row: curves["rows"][row] for row in results["models"] if row in curves["rows"]}
    if not rows:
        return None
    return {
        "prompts": curves.get("prompts", UNKNOWN),
        "findings": curves["findings"],
        "by_currency": _by_currency(rows),
        "by_kl": _by_kl(rows),
        "by_fraction": _by_fraction(rows),
        "numbers": _numbers(rows),
    }


def _by_fraction(rows: Mapping[str, Any]) -> list[Chart]:
    """Gold and proxy reward of each row against the share of the budget, all on the same axes."""
    most = max(100 * point["fraction"] for row in rows.values() for point in row["points"])
    axes = Axes("% of the budget", "reward", (0.0, max(100.0, most)), _rewards(rows))
    charts = [line_chart(row, _both(curve, _percent), axes) for row, curve in rows.items()]
    return [chart for chart in charts if chart is not None]


def _by_kl(rows: Mapping[str, Any]) -> list[Chart]:
    """The same rewards against KL from SFT, with the fitted curve where there is one."""
    most = max(point["kl"]["value"] or 0.0 for row in rows.values() for point in row["points"])
    axes = Axes("KL from SFT (nats)", "reward", (0.0, most), _rewards(rows))
    charts = []
    for row, curve in rows.items():
        lines = _both(curve, _kl)
        if curve.get("fit"):
            lines.append(Line("fit", _fitted(curve), None))
        charts.append(line_chart(row, lines, axes))
    return [chart for chart in charts if chart is not None]


def _both(curve: Mapping[str, Any], x: Callable[[Record], float | None]) -> list[Line]:
    return [Line(label, _points(curve, name, x), style) for name, label, style in QUANTITIES]


def _fitted(curve: Mapping[str, Any]) -> list[Point]:
    """R(d) = d (alpha - beta log d) on top of the start's gold reward, up to the end's KL."""
    fit, start = curve["fit"], curve["points"][0]["reward_gold"]["value"]
    if start is None or any(fit.get(name) is None for name in ("alpha", "beta", "end_kl")):
        return []
    points: list[Point] = []
    for number in range(FIT_POINTS + 1):
        kl = fit["end_kl"] * number / FIT_POINTS
        d = sqrt(kl)
        gain = d * (fit["alpha"] - fit["beta"] * log(d)) if d else 0.0
        points.append((kl, start + gain, None, None))
    return points


def _by_currency(rows: Mapping[str, Any]) -> list[Chart]:
    """Gold reward of all rows against each currency that a row spent; FLOPs first."""
    charts = []
    for currency in sorted(COUNTED, key=lambda name: name != "flops"):
        spent = [p["consumed"].get(currency, 0) for row in rows.values() for p in row["points"]]
        if not any(spent):
            continue

        def x(point: Record, currency: str = currency) -> float:
            return float(point["consumed"].get(currency, 0))

        lines = [
            Line(row, _points(curve, "reward_gold", x), number)
            for number, (row, curve) in enumerate(rows.items())
        ]
        label = LABELS[currency]
        axes = Axes(label, "gold reward", (0.0, max(spent)), None, (WIDE, 320))
        charts.append(line_chart(f"Gold reward against {label}", lines, axes, list(rows)))
    return [chart for chart in charts if chart is not None]


def _points(
    curve: Mapping[str, Any], name: str, x: Callable[[Record], float | None]
) -> list[Point]:
    return [
        (at, *_interval(point[name])) for point in curve["points"] if (at := x(point)) is not None
    ]


def _percent(point: Record) -> float:
    return 100 * float(point["fraction"])


def _kl(point: Record) -> float | None:
    kl: float | None = point["kl"]["value"]
    return kl


def _interval(figure: Mapping[str, Any]) -> tuple[float | None, float | None, float | None]:
    return figure["value"], figure["low"], figure["high"]


def _rewards(rows: Mapping[str, Any]) -> tuple[float, float]:
    """What all values and bounds of both rewards fit into, with a little room."""
    ends = [
        bound
        for row in rows.values()
        for point in row["points"]
        for name, _, _ in QUANTITIES
        for bound in _interval(point[name])
        if bound is not None
    ]
    if not ends:
        return 0.0, 1.0
    room = 0.05 * (max(ends) - min(ends)) or 0.5
    return min(ends) - room, max(ends) + room


def _numbers(rows: Mapping[str, Any]) -> Sequence[Record]:
    return [
        {
            "row": row,
            "fraction": f"{100 * point['fraction']:.0f} %",
            "steps": f"{point['step']:,.0f}" if "step" in point else UNKNOWN,
            "flops": amount("flops", point["consumed"].get("flops")),
            "gold": _figure(point["reward_gold"]),
            "proxy": _figure(point["reward_proxy"]),
            "kl": _figure(point["kl"]),
        }
        for row, curve in rows.items()
        for point in curve["points"]
    ]


def _figure(figure: Mapping[str, Any]) -> Record:
    value, low, high = _interval(figure)
    return {
        "value": UNKNOWN if value is None else f"{value:.2f}",
        "bounds": "" if low is None else f"{low:.2f} to {high:.2f}",
    }
