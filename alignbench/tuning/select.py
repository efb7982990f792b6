"""What the trials of a row found, and what they cost. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignbench.errors import UserError
from alignbench.metering.currencies import COUNTED
from alignbench.tuning.curve import expected_best, running_best
from alignbench.tuning.space import replaced

Record = dict[str, Any]
FILE = "trial.json"
HELD = ("prompts", "human_labels")
"""Taken from one fixed data set by every trial, so that they are paid for once and not N times."""


def read_trials(folders: Sequence[Path]) -> list[Record]:
    """The records of a row's trials (`stages.trial`), in order.

    Raises:
        RuntimeError: the folders are not trials 0, 1, 2... of one row.
    """
    trials = [json.loads((folder / FILE).read_text(encoding="utf-8")) for folder in folders]
    rows = {trial["row"] for trial in trials}
    if [trial["number"] for trial in trials] != list(range(len(trials))) or len(rows) > 1:
        raise RuntimeError(f"not the trials of one row in order: {', '.join(map(str, folders))}")
    return trials


def best_options(
    options: Mapping[str, Any], folders: Sequence[Path]
) -> tuple[dict[str, Any], Record]:
    """A row's options with the best trial's values; of equal ones, the earlier trial's.

    Args:
        options: the row's own, defaults filled in.
        folders: of its trials, in order.

    Returns:
        (options, record for metrics.json: which trial, its parameters and value, and `saw_gold`).

    Raises:
        UserError: every trial failed.
    """
    trials = read_trials(folders)
    finished = [trial for trial in trials if trial["state"] == "complete"]
    if not finished:
        row, reason = trials[0]["row"], trials[0]["reason"]
        raise UserError(
            f"tuning: all {len(trials)} trials of {row} failed (the first one: {reason}); narrow "
            f"tuning.search.{row} to gentler values, such as a lower learning rate, and give the "
            "row a value within it that trains"
        )
    best = max(finished, key=lambda trial: (trial["value"], -trial["number"]))
    record = {
        "trials": len(trials),
        "failed": len(trials) - len(finished),
        "selected": best["number"],
        "params": best["params"],
        "value": best["value"],
        "standard_error": best["standard_error"],
        "metric": best["metric"],
        "saw_gold": best["saw_gold"],
    }
    return replaced(options, best["params"]), record


def tuning_cost(trials: Sequence[Mapping[str, Any]]) -> Record:
    """What the search of a row consumed.

    Returns:
        ``trials``: their number; ``consumed``: training, by currency, summed over the trials but
        for prompts and human labels, of which the most that a trial read is named (every trial
        reads the same, and so does the final training: they are no further cost where that read
        as many); ``validation``: sampling and scoring the validation prompts, likewise summed.
    """
    return {
        "trials": len(trials),
        "consumed": _summed([trial["consumed"] for trial in trials]),
        "validation": _summed([trial["validation"] for trial in trials]),
    }


def _summed(bills: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total = {}
    for name in COUNTED:
        amounts = [bill.get(name, 0) for bill in bills]
        total[name] = max(amounts, default=0) if name in HELD else sum(amounts)
    return total


def summary(trials: Sequence[Mapping[str, Any]]) -> Record:
    """What the results say about the search of a row: every trial, the curves, the cost.

    A failed trial counts with the lowest value of the metric's scale (`floor`) in the curves: it
    is a draw that found nothing.

    Returns:
        ``metric``, ``scorer``, ``saw_gold``, ``trials`` (number, params, state, reason, value,
        standard_error), ``expected_best`` and ``running_best`` for k = 1..N, and ``cost``.
    """
    values = [trial["floor"] if trial["value"] is None else trial["value"] for trial in trials]
    shown = ("number", "params", "state", "reason", "value", "standard_error")
    return {
        **{name: trials[0][name] for name in ("metric", "scorer", "saw_gold")},
        "trials": [{name: trial[name] for name in shown} for trial in trials],
        "expected_best": expected_best(values),
        "running_best": running_best(values),
        "cost": tuning_cost(trials),
    }
