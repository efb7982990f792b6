"""The report's results table, targets and tests: what the template shows of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignbench.report.charts import Chart, interval_chart
from alignbench.report.judge import percent
from alignbench.report.shown import UNKNOWN
from alignbench.results.metrics import METRIC, METRICS, Metric, label, simulated
from alignbench.results.observations import PERPLEXITIES

Record = dict[str, Any]
STATUS_SIGNS = {"met": "✓", "missed": "✗", "not separable": "≈", "unknown": UNKNOWN}
#: Metrics with a chart, and values with a line in it.
CHARTS: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("reward_gold", ()),
    ("win_rate_vs_sft", (50.0, 65.0)),
    ("win_rate_vs_baseline", (50.0,)),
)


def table_section(results: Mapping[str, Any]) -> Record:
    """Lines of the table, targets, tests, charts, and what every metric means."""
    lines = _table(results)
    return {
        "lines": lines,
        "seeds": _seeds(results),
        "charts": _charts(results),
        "by_rule": any(simulated(metric, results) for metric in METRICS),
        "targets": _targets(results),
        "methods": list(dict.fromkeys(target["model"] for target in results["targets"])),
        "against": [_against(test) for test in results["statistics"]["against_sft"]],
        "between": [_test(test) for test in results["statistics"]["between_methods"]],
        "length_controlled": [
            {"model": line["model"], **percent({**line, "n": None}), "raw": _raw(line["raw"])}
            for line in results["statistics"].get("length_controlled", ())
        ],
    }


def _table(results: Mapping[str, Any]) -> list[Record]:
    """One entry for each measured metric: label, meaning, marks, and a cell for each model."""
    cells = {(row["model"], row["metric"]): row for row in results["rows"]}
    best = results["statistics"]["best"]
    return [
        {
            "name": metric.name,
            "label": label(metric, results),
            "meaning": metric.meaning,
            "better": {"higher": "↑", "lower": "↓", None: ""}[metric.better],
            "simulated": simulated(metric, results),
            "cells": [
                _cell(cells.get((model, metric.name)), metric, best.get(metric.name) == model)
                for model in results["models"]
            ],
        }
        for metric in METRICS
        if any(model_metric[1] == metric.name for model_metric in cells)
    ]


def _cell(row: Mapping[str, Any] | None, metric: Metric, best: bool) -> Record:
    if row is None or row["value"] is None:
        return {"value": UNKNOWN, "bounds": "", "best": False}
    bounds = UNKNOWN
    if row["low"] is not None:
        bounds = f"{row['low']:.{metric.decimals}f} to {row['high']:.{metric.decimals}f}"
    return {"value": f"{row['value']:.{metric.decimals}f}", "bounds": bounds, "best": best}


def _seeds(results: Mapping[str, Any]) -> list[Record]:
    """Per model, the most training seeds and prompts that a value of it rests on."""
    rows = {
        model: [row for row in results["rows"] if row["model"] == model]
        for model in results["models"]
    }
    return [
        {
            "seeds": max((row["n_seeds"] for row in own), default=UNKNOWN),
            "prompts": max(
                (row["n_prompts"] for row in own if row["metric"] not in PERPLEXITIES),
                default=UNKNOWN,
            ),
        }
        for own in rows.values()
    ]


def _targets(results: Mapping[str, Any]) -> list[Record]:
    lines: dict[str, Record] = {}
    for target in results["targets"]:
        line = lines.setdefault(
            target["target"],
            {"label": target["target"], "metric": target.get("metric"), "cells": {}},
        )
        sign = "+" if target["against"] is not None else ""
        value, bounds = UNKNOWN, ""
        if target["value"] is not None:
            value = f"{target['value']:{sign}.1f} %"
        if target["low"] is not None:
            bounds = f"{target['low']:{sign}.1f} to {target['high']:{sign}.1f}"
        words = target["status"]
        if words == "not separable":
            words += ", reached by the value alone" if target["met"] else ", value short of it"
        line["cells"][target["model"]] = {
            "sign": STATUS_SIGNS[target["status"]],
            "status": target["status"].replace(" ", "-"),
            "words": words,
            "value": value,
            "bounds": bounds,
        }
    return list(lines.values())


def _against(test: Mapping[str, Any]) -> Record:
    least = test.get("detectable")
    metric = test["metric"]
    return {
        **_test(test),
        "metric": metric,
        "label": "gold reward" if metric == "reward_gold" else "win rate − 50 %",
        "detectable": UNKNOWN if least is None else f"±{least:.2f}",
    }


def _test(test: Mapping[str, Any]) -> Record:
    difference, low, p = test["difference"], test["low"], test["p_holm"]
    return {
        "model": test["model"],
        "other": test.get("other"),
        "difference": UNKNOWN if difference is None else f"{difference:+.2f}",
        "bounds": UNKNOWN if low is None else f"{low:.2f} to {test['high']:.2f}",
        "p": UNKNOWN if p is None else f"{p:.2g}",
        "verdict": test["verdict"],
    }


def _raw(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1f} %"


def _charts(results: Mapping[str, Any]) -> list[Chart]:
    charts = []
    for name, marks in CHARTS:
        rows = [row for row in results["rows"] if row["metric"] == name]
        title = label(METRIC[name], results)
        charts.append(interval_chart(title, rows, METRIC[name].decimals, marks))
    return [chart for chart in charts if chart is not None]
