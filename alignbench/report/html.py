"""One self-contained HTML file from a results.json and some sampled responses.

See `report.page` for what makes it safe.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignbench.files import write_atomic
from alignbench.report.cost import cost_section
from alignbench.report.health import health_section
from alignbench.report.judge import judge_section, percent
from alignbench.report.page import render
from alignbench.report.plots import Geometry, curve_plot, interval_plot
from alignbench.report.quality import quality_section
from alignbench.report.tuning import tuning_section
from alignbench.results.metrics import METRIC, METRICS, Metric, label, simulated
from alignbench.results.observations import PERPLEXITIES

Record = dict[str, Any]
UNKNOWN = "–"
STATUS_SIGNS = {"met": "✓", "missed": "✗", "not separable": "≈", "unknown": UNKNOWN}
CURVE_LABELS = {
    "reward_raw": "proxy reward (raw)",
    "sequence_kl": "KL from SFT, sampled (nats)",
    "sampled_entropy": "entropy, sampled (nats/token)",
    "rewards_accuracies": "pair accuracy",
    "rewards_margins": "implicit reward margin",
    "loss": "loss",
}


def write_report(
    results: Mapping[str, Any], samples: Sequence[Mapping[str, Any]] | None, path: Path
) -> None:
    """Write the report, whole or not at all.

    Args:
        results: as `alignbench.results.load` returns it.
        samples: for the sample browser, or None: dicts ``{"prompt_id", "family", "prompt",
            "responses": [{"model", "response", "finished"}, ...]}``, see `stages.report`.
        path: of the HTML file.
    """
    write_atomic(path, render_report(results, samples))


def render_report(results: Mapping[str, Any], samples: Sequence[Mapping[str, Any]] | None) -> str:
    """The HTML text; see `write_report`."""
    return render(
        "report.html.jinja",
        results=results,
        confidence=f"{100 * results['statistics']['confidence']:.0f} %",
        table=_table(results),
        seeds=_seeds(results),
        targets=_targets(results),
        plots=_plots(results),
        cost=cost_section(results),
        quality=quality_section(results),
        judge=judge_section(results),
        by_rule=any(simulated(metric, results) for metric in METRICS),
        command=results.get("command"),
        detectable=[
            UNKNOWN if (least := test.get("detectable")) is None else f"±{least:.2f}"
            for test in results["statistics"]["against_sft"]
        ],
        length_controlled=[
            {"model": line["model"], **percent({**line, "n": None}), "raw": f"{line['raw']:.1f} %"}
            for line in results["statistics"].get("length_controlled", ())
        ],
        reference="SFT" if (reference := results.get("reference", "sft")) == "sft" else reference,
        between="win rate" if "reference" in results else "gold reward",
        health=health_section(results),
        tuning=tuning_section(results),
        curves=_curves(results),
        families=_families(samples or ()),
        recipe=json.dumps(results["recipe"], indent=1, ensure_ascii=False),
        methods=list(dict.fromkeys(target["model"] for target in results["targets"])),
    )


def _table(results: Mapping[str, Any]) -> list[Record]:
    """One entry for each metric: label, marks, and a cell for each model."""
    cells = {(row["model"], row["metric"]): row for row in results["rows"]}
    best = results["statistics"]["best"]
    return [
        {
            "label": label(metric, results),
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
        line = lines.setdefault(target["target"], {"label": target["target"], "cells": {}})
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


def _plots(results: Mapping[str, Any]) -> list[Geometry]:
    plots = []
    for name, marks in (
        ("reward_gold", ()),
        ("win_rate_vs_sft", (50.0, 65.0)),
        ("win_rate_vs_baseline", (50.0,)),
    ):
        rows = [row for row in results["rows"] if row["metric"] == name]
        plot = interval_plot(rows, label(METRIC[name], results), METRIC[name].decimals, marks)
        if plot is not None:
            plots.append(plot)
    return plots


def _curves(results: Mapping[str, Any]) -> list[Record]:
    """Per method, a plot for each logged quantity with a line for each seed."""
    by_method: dict[str, dict[str, dict[str, Any]]] = {}
    for run, training in results["training"].items():
        method, seed = run.rsplit("/", 1)
        for name, points in training["curves"].items():
            if name not in CURVE_LABELS:
                continue
            by_method.setdefault(method, {}).setdefault(name, {})[seed] = points
    return [
        {
            "method": method,
            "plots": [
                plot
                for name, lines in sorted(
                    by_method[method].items(), key=lambda item: list(CURVE_LABELS).index(item[0])
                )
                if (plot := curve_plot(CURVE_LABELS[name], lines)) is not None
            ],
        }
        for method in results["models"]
        if method in by_method
    ]


def _families(samples: Sequence[Mapping[str, Any]]) -> list[Record]:
    families: dict[str, list[Mapping[str, Any]]] = {}
    for sample in samples:
        families.setdefault(str(sample["family"]), []).append(sample)
    return [{"name": name, "samples": group} for name, group in families.items()]
