"""The report's section on tuning: what was tried for each row, and what it brought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignbench.report.charts import Axes, Chart, Line, line_chart
from alignbench.report.health import shown
from alignbench.report.shown import UNKNOWN

Record = dict[str, Any]


def tuning_section(results: Mapping[str, Any]) -> list[Record]:
    """Per tuned row: its trials, the chosen one, and the best value by number of trials."""
    sections = []
    for row, tuned in (results.get("tuning") or {}).items():
        names = list(dict.fromkeys(name for trial in tuned["trials"] for name in trial["params"]))
        best = max(
            (trial for trial in tuned["trials"] if trial["value"] is not None),
            key=lambda trial: trial["value"],
            default=None,
        )
        sections.append(
            {
                "row": row,
                "metric": tuned.get("metric", "value").replace("_", " "),
                "scorer": tuned.get("scorer", UNKNOWN),
                "saw_gold": bool(tuned.get("saw_gold")),
                "names": names,
                "trials": [_trial(trial, names, trial is best) for trial in tuned["trials"]],
                "chart": _best_of_k(str(row), tuned),
            }
        )
    return sections


def _trial(trial: Mapping[str, Any], names: Sequence[str], chosen: bool) -> Record:
    error = trial.get("standard_error")
    return {
        "number": trial["number"],
        "params": [shown(trial["params"].get(name)) for name in names],
        "value": UNKNOWN if trial["value"] is None else f"{trial['value']:.3f}",
        "error": f"± {UNKNOWN if error is None else f'{error:.3f}'}",
        "chosen": chosen,
        "state": trial["state"] + (f": {trial['reason']}" if trial.get("reason") else ""),
    }


def _best_of_k(row: str, tuned: Mapping[str, Any]) -> Chart | None:
    """Expected and observed best against the number of trials; None for a single trial."""
    lines = [
        Line(name, [(k, value, None, None) for k, value in enumerate(tuned[field], 1)], style)
        for style, (name, field) in enumerate(
            (("expected", "expected_best"), ("as run", "running_best"))
        )
    ]
    if len(lines[0].points) < 2:
        return None
    axes = Axes("trials k", tuned.get("metric", "value").replace("_", " "), integers=True)
    return line_chart(f"Best of k trials of {row}", lines, axes)
