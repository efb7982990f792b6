"""The report's training curves: a chart for each logged quantity, a line for each run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignbench.report.charts import WIDE, Axes, Chart, Line, line_chart

LABELS = {
    "reward_raw": "proxy reward (raw)",
    "sequence_kl": "KL from SFT, sampled (nats)",
    "sampled_entropy": "entropy, sampled (nats/token)",
    "rewards_accuracies": "pair accuracy",
    "rewards_margins": "implicit reward margin",
    "loss": "loss",
}


def training_charts(results: Mapping[str, Any]) -> list[Chart]:
    """One chart for each quantity that a method logged; lines of one method share their colour."""
    charts = []
    trained = [m for m in results["models"] if any(_row(run) == m for run in results["training"])]
    for name, label in LABELS.items():
        lines = [
            Line(
                method,
                [(step, value, None, None) for step, value in training["curves"][name]],
                trained.index(method),
                run.rpartition("/")[2],
            )
            for method in trained
            for run, training in results["training"].items()
            if _row(run) == method and name in training["curves"]
        ]
        axes = Axes("step", label, size=(WIDE, 260))
        charts.append(line_chart(f"{label[0].upper()}{label[1:]}", lines, axes, trained))
    return [chart for chart in charts if chart is not None]


def _row(run: str) -> str:
    return run.rpartition("/")[0]
