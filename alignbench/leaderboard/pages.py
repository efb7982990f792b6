"""One page of all entries of a leaderboard: tables by comparable terms, histories, every entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import alignbench
from alignbench.judges.base import SENTINELS
from alignbench.leaderboard.details import bounds, chance, details, metric_label, number
from alignbench.leaderboard.facts import BEFORE_METHODS
from alignbench.leaderboard.grouping import Group, groups_of, named, refusals
from alignbench.leaderboard.history import DECIDING, History, commit_dates, date_of, histories
from alignbench.leaderboard.schema import Cell, Entry
from alignbench.leaderboard.standing import Row, best_of, cells, lead_of
from alignbench.report.page import policy_of, render, script
from alignbench.results.metrics import METRIC, METRICS, simulated

Record = dict[str, Any]
UNKNOWN = "–"
CODE = ("state.js", "tables.js", "terms.js")
REPOSITORY = Path(alignbench.__file__).parent.parent
"""Where commits of alignbench may be known."""
#: What a table's rows share, in the words of its caption.
_TERMS = (
    ("profile", "profile"),
    ("judge", "judge"),
    ("budget", "budget"),
    ("decoding.temperature", "temperature"),
    ("decoding.samples_per_prompt", "samples for each prompt"),
    ("decoding.max_response_tokens", "tokens of an answer, at most"),
    ("precision", "precision"),
)


@dataclass(frozen=True)
class Skipped:
    """A file that is no entry, and every reason why."""

    file: str
    problems: Sequence[str]


def page(entries: Sequence[Entry], skipped: Sequence[Skipped] = ()) -> str:
    """The HTML text.

    Args:
        entries: checked by `entry.load` or `entry.validated`; in any order.
        skipped: files that were left out.
    """
    known = named(entries)
    dates = commit_dates([one.entry.environment.git_commit for one in known], REPOSITORY)
    groups = groups_of(known)
    scripts = {"theme": script("theme.js"), "code": script(*CODE)}
    used = dict.fromkeys(cell.metric for entry in entries for cell in entry.rows)
    return render(
        "leaderboard.html.jinja",
        policy=policy_of(*scripts.values()),
        scripts=scripts,
        groups=[_group(group, groups, dates) for group in groups],
        index=[_index_line(group, number, dates) for number, group in enumerate(groups, 1)],
        histories=[_history(found) for found in histories(known, dates)],
        skipped=skipped,
        meanings=[metric for metric in METRICS if metric.name in used],
        version=alignbench.__version__,
    )


def _index_line(group: Group, number: int, dates: Mapping[str, str]) -> Record:
    return {
        "table": number,
        "entries": [
            {
                "name": one.name,
                "recipe": one.entry.recipe.name,
                "profile": one.entry.recipe.profile,
                "judge": one.entry.judge.name,
                "rows": len(one.entry.models),
                "seeds": max((cell.n_seeds for cell in one.entry.rows), default=0),
                "version": one.entry.environment.alignbench,
                "date": (date_of(one, dates) or UNKNOWN)[:10],
                "errors": sum(flag.kind == "error" for flag in one.entry.flags),
                "warnings": sum(flag.kind == "warning" for flag in one.entry.flags),
            }
            for one in group.entries
        ],
    }


def _group(group: Group, groups: Sequence[Group], dates: Mapping[str, str]) -> Record:
    first = group.entries[0].entry
    together = [row for row in _columns(group) if row not in group.apart]
    several = len(group.entries) > 1
    best = best_of(group)
    return {
        "number": groups.index(group) + 1,
        "several": several,
        "title": ", ".join(
            dict.fromkeys(
                f"{o.entry.recipe.name} ({o.entry.recipe.profile})" for o in group.entries
            )
        ),
        "confidence": f"{100 * first.statistics.confidence:g} %",
        "terms": _terms(first),
        "by_rule": any(
            simulated(metric, {"judge": first.judge.model_dump()}) for metric in METRICS
        ),
        "main": _table(group, together, best),
        "apart": _table(group, list(group.apart), {}) if group.apart else None,
        "reasons": [
            {"row": row, "entry": entry, "reasons": list(dict.fromkeys(reasons))}
            for (entry, row), reasons in group.apart.items()
        ],
        "leads": [_lead(group, metric, first) for metric in DECIDING] if several else [],
        "refusals": refusals(group, groups),
        "entries": [details(one, dates) for one in group.entries],
        "errors": sum(f.kind == "error" for one in group.entries for f in one.entry.flags),
    }


def _terms(entry: Entry) -> list[tuple[str, str]]:
    found = []
    for path, words in _TERMS:
        value: Any = entry.certificate
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, Mapping):
            value = ", ".join(
                f"{key} {item:g}" if isinstance(item, float) else f"{key} {item}"
                for key, item in value.items()
            )
        found.append((words, "none" if value is None else str(value)))
    prompts = entry.certificate.get("eval_prompts")
    found.append(("evaluation prompts", UNKNOWN if prompts is None else str(len(prompts))))
    return found


def _columns(group: Group) -> list[Row]:
    """Rows of one name side by side: methods, references, then sentinels."""
    names = dict.fromkeys(row for one in group.entries for row in one.entry.models)
    ordered = sorted(names, key=lambda row: (row in SENTINELS, row in BEFORE_METHODS))
    return [(one.name, row) for row in ordered for one in group.entries if row in one.entry.models]


def _table(group: Group, columns: Sequence[Row], best: Mapping[str, Sequence[Row]]) -> Record:
    """Lines of metrics with a cell for each column."""
    table, first = cells(group), group.entries[0].entry
    judge = {"judge": first.judge.model_dump()}
    lines = [
        {
            "name": metric.name,
            "label": metric_label(metric.name, first),
            "better": {"higher": "↑", "lower": "↓", None: ""}[metric.better],
            "simulated": simulated(metric, judge),
            "cells": [
                _cell(table.get((row, metric.name)), row in best.get(metric.name, ()))
                for row in columns
            ],
        }
        for metric in METRICS
        if any((row, metric.name) in table for row in columns)
    ]
    return {
        "columns": [{"entry": entry, "row": row} for entry, row in columns],
        "lines": lines,
        "seeds": [
            max((c.n_seeds for (r, _), c in table.items() if r == row), default=0)
            for row in columns
        ],
    }


def _cell(cell: Cell | None, best: bool) -> Record:
    if cell is None or cell.value is None:
        return {"value": UNKNOWN, "bounds": "", "best": False}
    decimals = METRIC[cell.metric].decimals
    return {
        "value": number(cell.value, decimals),
        "bounds": bounds(cell.low, cell.high, decimals),
        "best": best,
    }


def _lead(group: Group, metric: str, first: Entry) -> Record:
    leads = lead_of(group, metric)
    decimals = METRIC[metric].decimals
    return {
        "metric": metric,
        "label": metric_label(metric, first),
        "leader": leads[0].row if leads else None,
        "lines": [
            {
                "entry": lead.other[0],
                "row": lead.other[1],
                "difference": number(lead.difference, decimals, "+"),
                "bounds": bounds(lead.low, lead.high, decimals, "+"),
                "p": chance(lead.p_holm),
                "how": "paired by prompt" if lead.paired else "unpaired: do intervals overlap?",
                "verdict": lead.verdict,
            }
            for lead in leads
        ],
    }


def _history(found: History) -> Record:
    from alignbench.report.charts import Axes, Line, line_chart

    last = found.versions[-1].of.entry
    tables = []
    for metric in DECIDING:
        rows = {row: found.cells(row, metric) for row in found.rows()}
        lines = [
            Line(
                row,
                [
                    (float(at), cell.value, cell.low, cell.high)
                    for at, cell in enumerate(own, 1)
                    if cell is not None and cell.value is not None
                ],
                style,
            )
            for style, (row, own) in enumerate(rows.items())
        ]
        name = metric_label(metric, last)
        axes = Axes("Column of the table above", name, integers=True)
        tables.append(
            {
                "label": name,
                "metric": metric,
                "rows": [
                    {"row": row, "cells": [_cell(cell, False) for cell in own]}
                    for row, own in rows.items()
                    if any(own)
                ],
                "chart": line_chart(f"{name} over entries", lines, axes),
            }
        )
    return {
        "recipe": found.recipe,
        "profile": found.profile,
        "versions": [
            {
                "name": version.of.name,
                "version": version.of.entry.environment.alignbench,
                "commit": (version.of.entry.environment.git_commit or UNKNOWN)[:8],
                "date": (version.date or UNKNOWN)[:10],
                "changed": version.changed,
            }
            for version in found.versions
        ],
        "tables": tables,
    }
