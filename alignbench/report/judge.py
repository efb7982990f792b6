"""The report's section on the judge: its audit, what it took, and what people say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignbench.report.human import sentences, tables
from alignbench.report.shown import UNKNOWN, decimal, interval
from alignbench.report.shown import percent as percent

Record = dict[str, Any]
FIGURES = (
    ("prefers_first", "Prefers the answer shown first", "50 % = no position bias"),
    ("inconsistent", "Contradicts itself when the order is swapped", "counted as ties"),
    ("self_agrees", "Says the same when asked again", "100 % = as steady as a rule"),
    ("prefers_longer", "Prefers the longer answer", "of decided pairs of different lengths"),
    ("truth_prefers_longer", "… where the truth does", "on the pairs whose truth is known"),
    ("agrees", "Agrees with the truth", "ties of the judge count half"),
    ("agrees_both", "Right in both orders", "the same pairs, without half marks"),
    ("longest_agrees", "For comparison: always the longer answer", "a trivial judge"),
    ("random_agrees", "For comparison: a coin", "a trivial judge, in expectation"),
)


def judge_section(results: Mapping[str, Any]) -> Record | None:
    """What the template needs; None for results without a judged pair."""
    audit = results.get("judge_audit")
    human = _human(results)
    if audit is None or not (audit["pairs"] or human):
        return None
    judge = results["judge"]
    return {
        "pairs": audit["pairs"],
        "unanswered": audit["unanswered"],
        "truth": " and ".join(audit["truth"]) or UNKNOWN,
        "figures": [
            {"label": label, "meaning": meaning, **percent(audit[name])}
            for name, label, meaning in FIGURES
        ],
        "ratings": [
            {"label": rubric, **interval(figure)}
            for rubric, figure in audit.get("ratings", {}).items()
        ],
        "deterministic": judge.get("deterministic", False),
        "served": judge.get("served") or [],
        "refusals_by": judge.get("refusals_by", UNKNOWN),
        "bill": [f"{name.replace('_', ' ')}: {value:,}" for name, value in _bill(judge)],
        "human": human,
    }


def _bill(judge: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in (judge.get("bill") or {}).items() if value is not None]


def _human(results: Mapping[str, Any]) -> Record | None:
    """Win rates by people, by the judge, and by the judge corrected by people."""
    human = results.get("human")
    if not human:
        return None
    return {
        "labels": human["labels"],
        "unused": human["unused"],
        "rows": [
            {
                "model": row["model"],
                "seed": row["seed"],
                "against": row["against"],
                "labelled": row["labelled"],
                "kappa": decimal(row["kappa"]),
                **{name: percent(row[name]) for name in ("judge", "people", "corrected")},
            }
            for row in human["rows"]
        ],
        "tables": tables(human, results["statistics"]["confidence"]),
        "sentences": sentences(human),
    }
