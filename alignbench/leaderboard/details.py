"""What a leaderboard page tells of one entry: text for the template, nothing computed anew."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from alignbench.leaderboard.facts import methods_of
from alignbench.leaderboard.grouping import Named
from alignbench.leaderboard.history import date_of
from alignbench.leaderboard.schema import Amount, Entry, Target, Test
from alignbench.metering.currencies import LABELS, amount
from alignbench.results.conclusions import TRAINED
from alignbench.results.metrics import METRIC, label

Record = dict[str, Any]
UNKNOWN = "–"
SIGNS = {"met": "✓", "missed": "✗", "not separable": "≈", "unknown": UNKNOWN}
BYTES = {"peak_rss_bytes": "Peak MiB", "peak_cuda_bytes": "Peak CUDA MiB"}
_WORDS = {
    "better": "better than SFT",
    "worse": "worse than SFT",
    "not separable": "not separable from SFT",
}
_BY = {TRAINED.reward: "gold reward", TRAINED.wins: "win rate"}


def details(one: Named, dates: Mapping[str, str]) -> Record:
    """An entry: what to be wary of, what it concludes, what it cost, how to make it again."""
    entry = one.entry
    place = entry.environment
    return {
        "name": one.name,
        "recipe": entry.recipe.name,
        "profile": entry.recipe.profile,
        "judge": entry.judge,
        "flags": sorted(entry.flags, key=lambda flag: flag.kind != "error"),
        "notes": entry.notes,
        "observed": entry.observations is not None,
        "confidence": f"{100 * entry.statistics.confidence:g} %",
        "verdict": verdict(entry),
        "tests": [_against(test, entry) for test in entry.statistics.against_sft],
        "pairs": [_test(test) for test in entry.statistics.between_methods],
        "targets": _targets(entry.targets),
        "methods": methods_of(entry),
        "costs": _costs(entry),
        "environment": [
            ("alignbench", place.alignbench),
            ("commit", place.git_commit or "unknown"),
            ("date of commit", date_of(one, dates) or "unknown here"),
            *((n, _known(getattr(place, n))) for n in ("python", "platform", "processor")),
            ("processors", _known(place.cpu_count)),
            *((name, _known(version)) for name, version in place.libraries.items()),
        ],
        "commands": entry.commands,
        "settings": json.dumps(entry.recipe.settings, indent=1, sort_keys=True),
        "certificate": list(certified(entry)),
        "digest": entry.digest,
    }


def verdict(entry: Entry) -> list[str]:
    """What the tests say in sentences; an entry's own sentences are free text, and not shown."""
    sentences = []
    methods = methods_of(entry)
    for metric, words in _BY.items():
        said = {t.model: t.verdict for t in entry.statistics.against_sft if t.metric == metric}
        parts = [
            f"{phrase}: {', '.join(rows)}"
            for decision, phrase in _WORDS.items()
            if (rows := [row for row in methods if said.get(row) == decision])
        ]
        if parts:
            sentences.append(f"By {words}, {'; '.join(parts)}.")
    return sentences


def certified(entry: Entry) -> list[tuple[str, str]]:
    """The certificate, field by field; of long lists only how many there are."""
    found = []
    for name, value in entry.certificate.items():
        if name == "eval_prompts":
            found.append((name, f"{len(value)} prompts, each by its digest"))
        elif isinstance(value, Mapping):
            found += [(f"{name}.{key}", _short(item)) for key, item in value.items()]
        else:
            found.append((name, _short(value)))
    return found


def number(value: float | None, decimals: int, sign: str = "") -> str:
    """A number, or that it is unknown."""
    return UNKNOWN if value is None else f"{value:{sign}.{decimals}f}"


def bounds(low: float | None, high: float | None, decimals: int, sign: str = "") -> str:
    """``1.20 to 3.40``, or that it is unknown."""
    if low is None or high is None:
        return UNKNOWN
    return f"{low:{sign}.{decimals}f} to {high:{sign}.{decimals}f}"


def chance(p: float | None) -> str:
    """A p-value, or that it is unknown."""
    return UNKNOWN if p is None else f"{p:.2g}"


def metric_label(metric: str, entry: Entry) -> str:
    """What a metric is called in an entry."""
    about = {"statistics": entry.statistics.model_dump(), "judge": entry.judge.model_dump()}
    return label(METRIC[metric], about)


def _against(test: Test, entry: Entry) -> Record:
    suffix = " − 50 %" if test.metric == TRAINED.wins else ""
    return {**_test(test), "metric": metric_label(str(test.metric), entry) + suffix}


def _test(test: Test) -> Record:
    return {
        "model": test.model,
        "other": test.other,
        "difference": number(test.difference, 2, "+"),
        "bounds": bounds(test.low, test.high, 2, "+"),
        "p": chance(test.p_holm),
        "verdict": test.verdict,
    }


def _targets(targets: Sequence[Target]) -> list[Record]:
    lines: dict[str, Record] = {}
    for target in targets:
        line = lines.setdefault(target.target, {"label": target.target, "cells": {}})
        sign = "+" if target.against is not None else ""
        line["cells"][target.model] = {
            "sign": SIGNS[target.status],
            "status": target.status.replace(" ", "-"),
            "words": target.status,
            "value": f"{number(target.value, 1, sign)} %" if target.value is not None else "",
            "bounds": bounds(target.low, target.high, 1, sign),
        }
    return list(lines.values())


def _costs(entry: Entry) -> list[Record]:
    """Currencies that somebody spent, by row: of the row alone, and with all that it needed."""
    rows = [row for row in entry.models if row in entry.counted or row in entry.measured]
    lines = []
    for bills in (entry.counted, entry.measured):
        names = dict.fromkeys(name for bill in bills.values() for name in bill.end_to_end)
        for name in names:
            cells = []
            for row in rows:
                bill = bills.get(row)
                own = bill.marginal.get(name) if bill else None
                whole = bill.end_to_end.get(name) if bill else None
                cells.append({"own": _spent(name, own), "whole": _spent(name, whole)})
            if any(
                bill.end_to_end[name].value for bill in bills.values() if name in bill.end_to_end
            ):
                lines.append({"label": BYTES.get(name) or LABELS.get(name, name), "cells": cells})
    return [{"rows": rows, "lines": lines}] if lines else []


def _spent(currency: str, found: Amount | None) -> str:
    if found is None or found.value is None:
        return UNKNOWN
    scale = 2**20 if currency in BYTES else 1
    error = None if found.error is None else amount(currency, found.error / scale)
    return f"{amount(currency, found.value / scale)} ±\u00a0{error or UNKNOWN}"


def _known(value: object) -> str:
    return "unknown" if value is None else str(value)


def _short(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 400 else f"{text[:400]}…"
