"""The report's section on quality along training: small plots on common axes, and their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, sqrt
from typing import Any

from alignbench.metering.currencies import COUNTED, LABELS, amount
from alignbench.report.plots import Geometry, band_plot

Record = dict[str, Any]
UNKNOWN = "–"
QUANTITIES = (("reward_gold", "gold", 0), ("reward_proxy", "proxy", 1))
#: The curve of a fit is drawn through this many points.
FIT_POINTS = 40
COLOURS = 8


def quality_section(results: Mapping[str, Any]) -> Record | None:
    """Plots and numbers of the budget curves; None for a run without snapshots."""
    curves = results.get("budget_curves")
    if not curves or not curves["rows"]:
        return None
    rows = curves["rows"]
    return {
        "prompts": curves.get("prompts", UNKNOWN),
        "findings": curves["findings"],
        "by_fraction": _by_fraction(rows),
        "by_kl": _by_kl(rows),
        "by_currency": _by_currency(rows),
        "numbers": _numbers(rows),
    }


def _by_fraction(rows: Mapping[str, Any]) -> list[Geometry]:
    """Gold and proxy reward of each row against the share of the budget, all on the same axes."""
    reward = _span(rows, [name for name, _, _ in QUANTITIES])
    most = max(100 * point["fraction"] for row in rows.values() for point in row["points"])
    return [
        band_plot(
            row,
            [
                {"name": label, "style": style, "points": _points(curve, name, _percent)}
                for name, label, style in QUANTITIES
            ],
            "% of the budget",
            (0.0, max(100.0, most)),
            reward,
        )
        for row, curve in rows.items()
    ]


def _by_kl(rows: Mapping[str, Any]) -> list[Geometry]:
    """The same rewards against KL from SFT, with the fitted curve where there is one."""
    reward = _span(rows, [name for name, _, _ in QUANTITIES])
    most = max(point["kl"]["value"] or 0.0 for row in rows.values() for point in row["points"])
    plots = []
    for row, curve in rows.items():
        lines = [
            {"name": label, "style": style, "points": _points(curve, name, _kl)}
            for name, label, style in QUANTITIES
        ]
        if curve.get("fit"):
            lines.append({"name": "fit", "style": "fit", "points": _fitted(curve)})
        plots.append(band_plot(row, lines, "KL from SFT (nats)", (0.0, most), reward))
    return plots


def _fitted(curve: Mapping[str, Any]) -> list[tuple[float, float, None, None]]:
    """R(d) = d (alpha - beta log d) on top of the start's gold reward, up to the end's KL."""
    fit, start = curve["fit"], curve["points"][0]["reward_gold"]["value"]
    if start is None:
        return []
    points = []
    for number in range(FIT_POINTS + 1):
        kl = fit["end_kl"] * number / FIT_POINTS
        d = sqrt(kl)
        gain = d * (fit["alpha"] - fit["beta"] * log(d)) if d else 0.0
        points.append((kl, start + gain, None, None))
    return points


def _by_currency(rows: Mapping[str, Any]) -> list[Geometry]:
    """Gold reward of all rows against each currency that a row spent; FLOPs first."""
    gold = _span(rows, ["reward_gold"])
    plots = []
    for currency in sorted(COUNTED, key=lambda name: name != "flops"):
        spent = [p["consumed"].get(currency, 0) for row in rows.values() for p in row["points"]]
        if not any(spent):
            continue
        lines = [
            {
                "name": row,
                "style": number % COLOURS,
                "points": [
                    (point["consumed"].get(currency, 0), *_interval(point["reward_gold"]))
                    for point in curve["points"]
                ],
            }
            for number, (row, curve) in enumerate(rows.items())
        ]
        label = LABELS[currency]
        plots.append(band_plot(label, lines, label, (0.0, max(spent)), gold, width=470, height=260))
    return plots


def _points(curve: Mapping[str, Any], name: str, x: Any) -> list[tuple[Any, ...]]:
    points = [(x(point), *_interval(point[name])) for point in curve["points"]]
    return [point for point in points if point[0] is not None]


def _percent(point: Mapping[str, Any]) -> float:
    return 100 * float(point["fraction"])


def _kl(point: Mapping[str, Any]) -> float | None:
    kl: float | None = point["kl"]["value"]
    return kl


def _interval(figure: Mapping[str, Any]) -> tuple[float | None, float | None, float | None]:
    return figure["value"], figure["low"], figure["high"]


def _span(rows: Mapping[str, Any], names: Sequence[str]) -> tuple[float, float]:
    """What all values and bounds of these quantities fit into, with a little room."""
    ends = [
        bound
        for row in rows.values()
        for point in row["points"]
        for name in names
        for bound in _interval(point[name])
        if bound is not None
    ]
    if not ends:
        return 0.0, 1.0
    room = 0.05 * (max(ends) - min(ends))
    return min(ends) - room, max(ends) + room


def _numbers(rows: Mapping[str, Any]) -> list[Record]:
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
