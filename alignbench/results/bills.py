"""What each method cost, counted twice, and where the two counts disagree.

The marginal bill is what the method itself spent: the mean over its training seeds. The end-to-end
bill adds everything that had to exist first: SFT, the reward model, the tuning trials. A stage that
several rows share is charged whole to each of them, since the bill answers "what would it cost to
run this method alone?". See docs/budgets.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from alignbench.metering.currencies import COUNTED, LABELS, TIME, amount
from alignbench.tuning.select import FILE as TRIAL

Record = dict[str, Any]
Amounts = Mapping[str, float | None]

PEAKS = ("peak_rss_bytes", "peak_cuda_bytes")
MEASURED = (*TIME, *PEAKS)
"""What depends on the machine: it may stand under "costs" of results.json only."""
REUSED = ("prompts", "human_labels")
"""Data that is bought once, however many stages read it."""
OWN_DATA = ("sft", "reward/gold")
"""Stages whose data no other stage reads (the gold reward model's, where it selects trials)."""
TIE = 0.01
"""Costs that differ by less than this share are in no order."""
FREE = ("data", "base", "reference", "train", "generate")
"""Kinds of stages that are on no end-to-end bill beside the method's own: what all start from, what
has a bill of its own, and what is on the method's (`stages.method._bill_reference`)."""


def row_needs(graph: Mapping[str, Iterable[str]], rows: Iterable[str]) -> dict[str, list[str]]:
    """The stages that each row's end-to-end bill is charged with.

    They are all ancestors of the row's ``train/<row>/<seed>`` and ``generate/<row>/<seed>`` stages
    but data and base: so ``sft`` always, ``reward/proxy`` where the training or the decoding reads
    the reward model, and ``trial/<row>/<k>``.

    Args:
        graph: name of each stage of the pipeline -> names of its inputs.
        rows: names of rows.
    """
    needs = {}
    for row in rows:
        waiting = [n for n in graph if n.startswith((f"train/{row}/", f"generate/{row}/"))]
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting.extend(graph[name])
        needs[row] = sorted(name for name in seen if name.split("/")[0] not in FREE)
    return needs


def bills_record(
    inputs: Mapping[str, Path],
    runs: Sequence[tuple[str, int]],
    needs: Mapping[str, Sequence[str]],
) -> tuple[Record, Record]:
    """Both bills of every trained row, ranks, order flips, and the cost of decoding.

    Args:
        inputs: stage name -> folder; those of ``train/...``, ``generate/...`` and of all `needs`.
        runs: (row, seed) in the order of the table, untrained rows included.
        needs: `row_needs`.

    Returns:
        What is equal in equal runs (for "bills" of results.json), and times and memory (for
        "costs"). Each is ``{"rows": {row: {"seeds", "needs", "marginal", "end_to_end"}}, "ranks":
        {bill: {currency: {row: rank}}}, "order_flips": [{"currency", "rows", "sentence"}]}``; an
        amount is ``{"value", "error"}``, its error the standard error over seeds, None with one.
        The first also has "decoding": ``{row: {"responses", "per_response": {currency: mean}}}``.
    """
    trained: dict[str, list[Path]] = {}
    for row, seed in runs:
        if f"train/{row}/{seed}" in inputs:
            trained.setdefault(row, []).append(inputs[f"train/{row}/{seed}"])
    rows = {
        row: _bills(
            [stage_cost(folder) for folder in folders],
            {name: stage_cost(inputs[name]) for name in needs.get(row, ())},
        )
        for row, folders in trained.items()
    }
    counted = _record(rows, COUNTED, COUNTED)
    counted["decoding"] = _decoding(inputs, runs)
    return counted, _record(rows, MEASURED, TIME)


def stage_cost(folder: Path) -> dict[str, float | None]:
    """All counts and measures of one stage; None where the stage did not tell.

    A tuning trial costs its training and its validation. Where a stage wrote no cost.json, the
    store's manifest tells its wall seconds and peak memory.
    """
    if (folder / TRIAL).exists():
        return _trial_cost(folder)
    consumed = _read(folder / "metrics.json").get("consumed", {})
    measured = _read(folder / "cost.json")
    if not measured:
        manifest = _read(folder / "manifest.json")
        measured = {
            "wall_seconds": manifest.get("seconds"),
            "peak_rss_bytes": manifest.get("peak_rss_bytes"),
        }
    return {
        **{currency: consumed.get(currency) for currency in COUNTED},
        **{name: measured.get(name) for name in MEASURED},
    }


def _trial_cost(folder: Path) -> dict[str, float | None]:
    trial = _read(folder / TRIAL)
    # Without cost.json the method refused the trial's options, and nothing was trained.
    measured = {**dict.fromkeys(MEASURED, 0), **_read(folder / "cost.json")}
    validation = measured.get("validation_seconds", 0)
    return {
        **{c: trial["consumed"].get(c, 0) + trial["validation"].get(c, 0) for c in COUNTED},
        **{time: measured[time] + validation for time in TIME},
        **{peak: measured[peak] for peak in PEAKS},
    }


@dataclass(frozen=True)
class _Bills:
    seeds: int
    needs: list[str]
    marginal: Record
    end_to_end: Record


def _bills(seeds: Sequence[Amounts], needs: Mapping[str, Amounts]) -> _Bills:
    marginal = {c: _mean([seed[c] for seed in seeds]) for c in (*COUNTED, *MEASURED)}
    end_to_end = {
        currency: {**own, "value": _total(currency, own["value"], needs)}
        for currency, own in marginal.items()
    }
    return _Bills(len(seeds), list(needs), marginal, end_to_end)


def _mean(values: Sequence[float | None]) -> Record:
    """Mean and standard error of the mean; unknown when one value is."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return {"value": None, "error": None}
    error = stdev(known) / math.sqrt(len(known)) if len(known) > 1 else None
    return {"value": fmean(known), "error": error}


def _total(currency: str, own: float | None, needs: Mapping[str, Amounts]) -> float | None:
    """The method's own amount and those of the stages it needs, together.

    Memory is not used up, so the most of any stage counts. Nor are labels: training, trials and
    reward model read one pool of pairs and one of prompts, so the most that one of them read.
    """
    alone = [cost[currency] for name, cost in needs.items() if name in OWN_DATA]
    other = [own, *(cost[currency] for name, cost in needs.items() if name not in OWN_DATA)]
    known_alone = [value for value in alone if value is not None]
    known = [value for value in other if value is not None]
    if len(known) < len(other) or len(known_alone) < len(alone):
        return None
    if currency in PEAKS:
        return max(known + known_alone)
    if currency in REUSED:
        return max(known) + sum(known_alone)
    return sum(known) + sum(known_alone)


def _record(rows: Mapping[str, _Bills], currencies: Sequence[str], ranked: Sequence[str]) -> Record:
    def values(bill: str, currency: str) -> dict[str, float | None]:
        return {row: getattr(bills, bill)[currency]["value"] for row, bills in rows.items()}

    pairs = {c: (values("marginal", c), values("end_to_end", c)) for c in ranked}
    return {
        "tie": TIE,
        "rows": {
            row: {
                "seeds": bills.seeds,
                "needs": bills.needs,
                "marginal": {c: bills.marginal[c] for c in currencies},
                "end_to_end": {c: bills.end_to_end[c] for c in currencies},
            }
            for row, bills in rows.items()
        },
        "ranks": {
            "marginal": {c: ranks(marginal) for c, (marginal, _) in pairs.items()},
            "end_to_end": {c: ranks(total) for c, (_, total) in pairs.items()},
        },
        "order_flips": [flip for c, (m, e) in pairs.items() for flip in order_flips(c, m, e)],
    }


def cheaper(a: float, b: float) -> bool:
    """Whether `a` is less than `b` by at least the share `TIE` of the larger."""
    return b - a >= TIE * max(abs(a), abs(b)) and a < b


def ranks(costs: Mapping[str, float | None]) -> dict[str, int | None]:
    """1 + the number of rows that are cheaper, ties left out; None for an unknown cost."""
    known = [cost for cost in costs.values() if cost is not None]
    return {
        row: None if cost is None else 1 + sum(cheaper(other, cost) for other in known)
        for row, cost in costs.items()
    }


def order_flips(currency: str, marginal: Amounts, end_to_end: Amounts) -> list[Record]:
    """Pairs of rows of which one is cheaper by the marginal bill and the other end to end."""
    flips = []
    for pair in combinations(marginal, 2):
        for a, b in (pair, pair[::-1]):
            own_a, own_b = marginal[a], marginal[b]
            all_a, all_b = end_to_end[a], end_to_end[b]
            if own_a is None or own_b is None or all_a is None or all_b is None:
                continue
            if cheaper(own_a, own_b) and cheaper(all_b, all_a):
                shown = [amount(currency, value) for value in (own_a, own_b, all_a, all_b)]
                sentence = (
                    f"{LABELS[currency]}: {a} costs less than {b} by itself ({shown[0]} against "
                    f"{shown[1]}) but more with all that it needs ({shown[2]} against {shown[3]})."
                )
                flips.append({"currency": currency, "rows": [a, b], "sentence": sentence})
    return flips


def _decoding(inputs: Mapping[str, Path], runs: Sequence[tuple[str, int]]) -> Record:
    """Per row, what one response of the evaluation cost: the mean over its seeds.

    This is where a method that searches among samples (best-of-N) pays.
    """
    found: dict[str, list[Record]] = {}
    for row, seed in runs:
        folder = inputs.get(f"generate/{row}/{seed}")
        if folder is None or not (folder / "metrics.json").exists():
            continue
        found.setdefault(row, []).append(_read(folder / "metrics.json"))
    return {
        row: {
            "responses": sum(metrics["responses"] for metrics in seeds),
            "per_response": {
                currency: _mean([_per_response(metrics, currency) for metrics in seeds])["value"]
                for currency in COUNTED
            },
        }
        for row, seeds in found.items()
    }


def _per_response(metrics: Mapping[str, Any], currency: str) -> float | None:
    consumed = metrics.get("consumed", {}).get(currency)
    return consumed / metrics["responses"] if consumed is not None else None


def _read(path: Path) -> Record:
    """A JSON object; empty where there is no such file."""
    record: Record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return record
