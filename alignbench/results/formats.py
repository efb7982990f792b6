"""The table of a run for other programs and papers: Markdown, CSV, JSON, LaTeX.

Whatever is cut out of a report loses its context, so every format carries the intervals and their
confidence, whose opinion the numbers are and whether that is a rule that simulates it, and the
flags: what to be wary of.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from alignbench.errors import printable
from alignbench.leaderboard.texts import cleaned, places_in
from alignbench.results.latex import latex
from alignbench.results.markdown import block, plain, table
from alignbench.results.metrics import METRIC, METRICS, Metric, label, simulated
from alignbench.results.render import SYMBOLS, UNKNOWN
from alignbench.results.reproduce import commands

Record = dict[str, Any]
Results = Mapping[str, Any]
CSV_COLUMNS = (
    *("model", "metric", "label", "better", "value", "low", "high", "confidence"),
    *("n_seeds", "n_prompts", "best", "judge", "simulated", "flags"),
)
"""Every line stands for itself: `flags` are those of the run, errors first."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def json_text(results: Results) -> str:
    """All of results.json, ASCII, floats as they are there."""
    return json.dumps(results, indent=1, sort_keys=True, allow_nan=False) + "\n"


def csv_text(results: Results) -> str:
    """One line for each model and metric, columns `CSV_COLUMNS`; unknown is empty.

    Texts that a spreadsheet would compute begin with an apostrophe.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    statistics, judge = results["statistics"], _one_line(results["judge"]["name"])
    flags = "; ".join(f"{flag['level']}: {_one_line(flag['message'])}" for flag in _flags(results))
    for row in results["rows"]:
        metric = METRIC.get(row["metric"])
        known: Record = {name: row.get(name) for name in CSV_COLUMNS}
        known |= {
            "label": "" if metric is None else label(metric, results),
            "better": "" if metric is None else metric.better,
            "confidence": statistics["confidence"],
            "best": statistics["best"].get(row["metric"]) == row["model"],
            "judge": judge,
            "simulated": metric is not None and simulated(metric, results),
            "flags": flags,
        }
        writer.writerow({name: _cell(value) for name, value in known.items()})
    return buffer.getvalue()


def markdown(results: Results) -> str:
    """The table with metrics as rows, targets below it, as GitHub shows it."""
    clean = cleaned(dict(results), places_in(results["recipe"]))
    confidence = f"{100 * clean['statistics']['confidence']:g} %"
    parts = [
        f"# {plain(clean['recipe']['name'])} ({plain(clean['profile'])})",
        *(f"**{plain(f['level'].capitalize())}.** {plain(f['message'])}" for f in _flags(clean)),
        " ".join(plain(sentence) for sentence in clean["verdict"]),
        _metrics_table(clean),
        f"Value [{confidence} interval]; – = unknown. **Bold**: separably better than every other "
        f"model. Judge: {plain(clean['judge']['name'])}."
        + (
            " *sim*: by the sandbox's exact rule, no person and no model."
            if any(simulated(metric, clean) for metric in METRICS)
            else ""
        ),
        *_targets(clean, confidence),
        *(f"- {plain(note['kind'])}: {plain(note['message'])}" for note in clean["notes"]),
    ]
    if command := clean.get("command"):  # of answers that were given, not trained here
        parts.append(block(command, "sh"))
    elif "methods" in clean["recipe"]:
        parts.append(block("\n".join(commands(clean["recipe"])), "sh"))
    return "\n\n".join(part for part in parts if part) + "\n"


FORMATS: Mapping[str, Callable[[Results], str]] = {
    "md": markdown,
    "csv": csv_text,
    "json": json_text,
    "latex": latex,
}
"""Format -> from results.json (as `results.load` returns it) to a text that ends with a newline."""


def _flags(results: Results) -> list[Mapping[str, Any]]:
    return sorted(results["flags"], key=lambda flag: flag["level"] != "error")


def _metrics_table(results: Results) -> str:
    cells = {(row["model"], row["metric"]): row for row in results["rows"]}
    best, models = results["statistics"]["best"], results["models"]
    rows = []
    for metric in METRICS:
        if not any(name == metric.name for _, name in cells):
            continue
        mark = " *sim*" if simulated(metric, results) else ""
        arrow = {"higher": " ↑", "lower": " ↓", None: ""}[metric.better]
        rows.append(
            [f"{plain(label(metric, results))}{arrow}{mark}"]
            + [
                _number(cells.get((model, metric.name)), metric, best.get(metric.name) == model)
                for model in models
            ]
        )
    return table(["Metric", *map(plain, models)], rows)


def _number(row: Mapping[str, Any] | None, metric: Metric, best: bool) -> str:
    if row is None or row["value"] is None:
        return UNKNOWN
    value = f"{row['value']:.{metric.decimals}f}"
    bounds = UNKNOWN
    if row["low"] is not None:
        bounds = f"{row['low']:.{metric.decimals}f}, {row['high']:.{metric.decimals}f}"
    return f"{f'**{value}**' if best else value} \\[{bounds}\\]"


def _targets(results: Results, confidence: str) -> list[str]:
    targets = results["targets"]
    if not targets:
        return []
    models = list(dict.fromkeys(target["model"] for target in targets))
    found = {(target["target"], target["model"]): target for target in targets}
    rows = [
        [plain(name), *(_target(found.get((name, model))) for model in models)]
        for name in dict.fromkeys(target["target"] for target in targets)
    ]
    return [
        table(["Target", *map(plain, models)], rows),
        f"✓ met, ✗ missed, ≈ the {confidence} interval includes the threshold.",
    ]


def _target(target: Mapping[str, Any] | None) -> str:
    if target is None or target["value"] is None:
        return UNKNOWN
    sign = "+" if target.get("against") is not None else ""
    bounds = UNKNOWN
    if target["low"] is not None:
        bounds = f"{target['low']:{sign}.1f}, {target['high']:{sign}.1f}"
    return f"{SYMBOLS[target['status']]} {target['value']:{sign}.1f} % \\[{bounds}\\]"


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))
