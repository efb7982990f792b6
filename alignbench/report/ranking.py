"""The report's sections that rank: pairwise wins and strengths, and which method for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignbench.report.charts import Chart, interval_chart
from alignbench.report.shown import UNKNOWN
from alignbench.results.choices import all_choices

Record = dict[str, Any]
#: A cell's colour is at most this strong (percent), so that its text stays readable.
STRONGEST = 36


def ranking_section(results: Mapping[str, Any]) -> Record | None:
    """The matrix of wins and the Bradley-Terry ranking; None where rows were not compared."""
    pairwise = results.get("pairwise")
    if not pairwise or not pairwise["models"]:
        return None
    strengths = pairwise["strengths"]
    known = sorted(strengths, key=lambda line: (line["value"] is None, -(line["value"] or 0.0)))
    parts = {line.get("component") for line in strengths}
    return {
        "judge": pairwise.get("judge", UNKNOWN),
        "models": pairwise["models"],
        "lines": [
            {"model": model, "cells": [_win(cell) for cell in row]}
            for model, row in zip(pairwise["models"], pairwise["wins"], strict=True)
        ],
        "strengths": [_strength(line) for line in known],
        "parts": len(parts) > 1,
        "problems": pairwise.get("problems") or [],
        "chart": _strengths_chart(known) if len(parts) == 1 else None,
    }


def _win(cell: Mapping[str, Any] | None) -> Record:
    if cell is None or cell["value"] is None:
        return {"value": UNKNOWN, "bounds": "", "side": "none", "strength": 0, "sure": False}
    value, low, high = cell["value"], cell["low"], cell["high"]
    known = low is not None and high is not None
    return {
        "value": f"{value:.0f}",
        "bounds": f"{low:.0f} to {high:.0f}" if known else UNKNOWN,
        "side": "wins" if value > 50 else "loses" if value < 50 else "none",
        "strength": round(STRONGEST * min(1.0, abs(value - 50) / 50)),
        "sure": known and (low > 50 or high < 50),
    }


def _strength(line: Mapping[str, Any]) -> Record:
    return {
        "model": line["model"],
        **figure(line, 2),
        "elo": UNKNOWN if line.get("elo") is None else f"{line['elo']:.0f}",
        "part": UNKNOWN if line.get("component") is None else str(line["component"] + 1),
    }


def _strengths_chart(lines: Sequence[Mapping[str, Any]]) -> Chart | None:
    return interval_chart("Bradley-Terry strength", lines, 2, unit="log-odds; 0 = the mean")


def figure(line: Mapping[str, Any], decimals: int, unit: str = "", sign: str = "") -> Record:
    """A value and its bounds as text; a dash for what is not known."""
    value, low, high = line["value"], line.get("low"), line.get("high")
    known = low is not None and high is not None
    return {
        "value": UNKNOWN if value is None else f"{value:{sign}.{decimals}f}{unit}",
        "bounds": f"{low:{sign}.{decimals}f} to {high:{sign}.{decimals}f}" if known else UNKNOWN,
    }


def effect_section(results: Mapping[str, Any]) -> Record | None:
    """Each method's gain in gold reward as a percentage of the reference's."""
    effect = results.get("effect")
    if not effect or not (effect["rows"] or effect.get("reason")):
        return None
    reference = str(effect["reference"])
    title = f"Gain over SFT, % of {reference}'s"
    return {
        "reference": reference,
        "reason": effect.get("reason"),
        "rows": [{"model": row["model"], **figure(row, 0, " %")} for row in effect["rows"]],
        "chart": interval_chart(title, effect["rows"], 0, marks=(0.0, 100.0)),
    }


def stability_rows(results: Mapping[str, Any]) -> list[Record]:
    """The standard deviation of gold reward between training seeds, by method."""
    return [
        {
            "model": row["model"],
            "seeds": row["seeds"],
            **figure({**row, "value": row["std"]}, 3),
        }
        for row in results.get("stability") or ()
    ]


def choices_section(results: Mapping[str, Any]) -> list[Record]:
    """For each constraint the answer, in a sentence, with the rows that it rests on."""
    return [
        {
            "constraint": choice["constraint"],
            "question": choice["question"],
            "answer": choice["answer"] or UNKNOWN,
            "sentence": choice["sentence"],
            "rows": [
                {"model": row["model"], "text": row["text"], "asked": row.get("asked", True)}
                for row in choice["rows"]
            ],
        }
        for choice in all_choices(results)
    ]
