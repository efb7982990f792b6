"""What people say of a run, as tables of texts for the report and the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignbench.judges.base import RUBRICS
from alignbench.report.shown import decimal, interval, percent


@dataclass(frozen=True)
class Table:
    """A table of texts: the first column names the lines."""

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(human: Mapping[str, Any], confidence: float) -> list[Table]:
    """Win rates, ratings, annotators and their agreement; only what there is.

    Args:
        human: of results.json.
        confidence: of its intervals.
    """
    level = f"{100 * confidence:.0f} %"
    every = [_wins(human, level), _ratings(human, level), _annotators(human), _pairs(human)]
    return [table for table in every if table.rows]


def _wins(human: Mapping[str, Any], level: str) -> Table:
    rows = []
    for line in human.get("win_rates", ()):
        shown = percent(line)
        cells = [shown["value"], shown["bounds"], str(shown["n"]), str(line["labels"])]
        rows.append([line["model"], line["against"], *cells])
    return Table(
        f"Wins by people, ties half, with {level} intervals over prompts: they hold for the "
        "training seeds that were looked at.",
        ("Row", "Against", "Wins by people", f"{level} interval", "Prompts", "Answers"),
        rows,
    )


def _ratings(human: Mapping[str, Any], level: str) -> Table:
    rows = []
    for line in human.get("ratings", ()):
        shown = [interval(line[rubric]) for rubric in RUBRICS]
        rows.append([line["model"], *(f"{each['value']} ({each['bounds']})" for each in shown)])
    return Table(
        f"Ratings by people, 1-10, with {level} intervals over prompts.",
        ("Row", *(rubric.capitalize() for rubric in RUBRICS)),
        rows,
    )


def _annotators(human: Mapping[str, Any]) -> Table:
    rows = []
    for who in human.get("annotators", ()):
        used = "left out" if who["excluded"] else "yes"
        rows.append([who["name"], str(who["answers"]), f"{who['right']} of {who['gold']}", used])
    return Table(
        "Annotators. Gold questions have a known answer: who gets fewer than 3 in 4 of them right "
        "(of 3 or more) is left out of all other figures.",
        ("Annotator", "Answers", "Gold right", "Used"),
        rows,
    )


def _pairs(human: Mapping[str, Any]) -> Table:
    rows = []
    for pair in human.get("agreement", {}).get("kappas", ()):
        shown = [str(pair["items"]), f"{pair['equal']:.0f} %", decimal(pair["kappa"])]
        rows.append([pair["a"], pair["b"], *shown])
    return Table(
        "Choices of every two annotators on the questions that both answered.",
        ("Annotator", "And", "Questions", "Equal", "Cohen's kappa"),
        rows,
    )


def sentences(human: Mapping[str, Any]) -> list[str]:
    """How people agree with each other and with the judge; nothing where nobody is named."""
    if "agreement" not in human:
        return []
    found, judge = human["agreement"], human["judge_agreement"]
    ratings = ", ".join(
        f"{rubric} {decimal(alphas['ordinal'])} / {decimal(alphas['interval'])}"
        for rubric, alphas in ((rubric, found["ratings"][rubric]) for rubric in RUBRICS)
    )
    shown = percent(judge)
    return [
        f"Krippendorff's alpha over the {found['items']} questions that several people answered: "
        f"choices {decimal(found['choice']['nominal'])} as labels, "
        f"{decimal(found['choice']['ordinal'])} in order; "
        f"ratings (as ranks / as numbers) {ratings}.",
        f"The judge sides with people on {shown['value']} ({shown['bounds']}) of {judge['pairs']} "
        f"pairs that both saw; kappa {decimal(judge['kappa'])}.",
    ]
