"""The report's section on cost: both bills, decoding, how methods ended, predicted and actual."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from alignbench.metering.currencies import COUNTED, LABELS, TIME, amount
from alignbench.report.shown import UNKNOWN

Record = dict[str, Any]
PEAKS = {"peak_rss_bytes": "Peak MiB", "peak_cuda_bytes": "Peak CUDA MiB"}
BILLS = {
    "marginal": "Marginal: the method's own training, mean over its seeds",
    "end_to_end": "End to end: with all that it needs, as if it were run alone",
}
#: Where stages stand in tables; others come last.
KINDS = ("data", "base", "sft", "reward", "trial", "train", "curve", "generate")


def cost_section(results: Mapping[str, Any]) -> Record:
    """What the template shows; parts that the results do not have are empty."""
    return {
        "bills": _bills(results),
        "flips": _flips(results),
        "needs": _needs(results),
        "decoding": _decoding(results),
        "endings": _endings(results),
        "overrides": _overrides(results),
        "predictions": _predictions(results),
        "stages": _stages(results),
    }


def _parts(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The counted bills and the measured ones, if there are any."""
    counted, measured = results.get("bills"), results["costs"].get("bills")
    return [part for part in (counted, measured) if part]


def _bills(results: Mapping[str, Any]) -> list[Record]:
    """One table for each bill: currencies as columns (those that somebody spent), rows in order."""
    billed = (results.get("bills") or {"rows": ()})["rows"]
    rows = [row for row in results["models"] if row in billed]
    if not rows:
        return []
    tables = []
    for bill, title in BILLS.items():
        columns: dict[str, dict[str, Record]] = {}
        for part in _parts(results):
            for currency in (*COUNTED, *TIME, *PEAKS):
                cells = {
                    row: _bill_cell(part, bill, row, currency)
                    for row in rows
                    if currency in part["rows"].get(row, {}).get(bill, {})
                }
                if any(cell["spent"] for cell in cells.values()):
                    columns[currency] = cells
        none = {"value": UNKNOWN, "note": ""}
        tables.append(
            {
                "title": title,
                "columns": [_label(currency) for currency in columns],
                "rows": [
                    {"row": row, "cells": [cells.get(row, none) for cells in columns.values()]}
                    for row in rows
                ],
            }
        )
    return tables


def _bill_cell(part: Mapping[str, Any], bill: str, row: str, currency: str) -> Record:
    given = part["rows"][row][bill][currency]
    rank = part["ranks"][bill].get(currency, {}).get(row)
    error = UNKNOWN if given["error"] is None else _amount(currency, given["error"])
    # No-break spaces: the two belong on one line, however narrow the column.
    note = f"±\u00a0{error}"
    if rank is not None:
        note += f"\u00a0·\u00a0#{rank}"
    value = given["value"]
    return {
        "value": _amount(currency, value),
        "note": "" if value is None else note,
        "spent": value is None or value > 0,
    }


def _flips(results: Mapping[str, Any]) -> list[str]:
    return [flip["sentence"] for part in _parts(results) for flip in part["order_flips"]]


def _needs(results: Mapping[str, Any]) -> list[Record]:
    """Rows with the stages on their end-to-end bill, rows that need the same ones together."""
    together: dict[tuple[str, ...], list[str]] = {}
    for row, bills in (results.get("bills") or {"rows": {}})["rows"].items():
        trials = [name for name in bills["needs"] if name.startswith("trial/")]
        needs = [name for name in bills["needs"] if name not in trials]
        if trials:
            needs.append(f"{len(trials)} tuning trial{'s' * (len(trials) > 1)}")
        together.setdefault(tuple(needs), []).append(row)
    return [
        {"rows": ", ".join(rows), "needs": ", ".join(needs) or "nothing"}
        for needs, rows in together.items()
    ]


def _decoding(results: Mapping[str, Any]) -> Record | None:
    """What one response costs to decode, and how many times SFT's that is in FLOPs."""
    decoding = (results.get("bills") or {}).get("decoding")
    if not decoding:
        return None
    shown = [
        c for c in COUNTED if any(row["per_response"].get(c) for row in decoding.values())
    ]  # fmt: skip
    sft = decoding.get("sft", {}).get("per_response", {}).get("flops")
    rows = []
    for row in (row for row in results["models"] if row in decoding):
        found = decoding[row]
        spent, times = found["per_response"], UNKNOWN
        if sft and spent.get("flops") is not None:
            times = f"{spent['flops'] / sft:.2f}"
        cells = [_per_response(c, spent.get(c)) for c in shown]
        rows.append({"row": row, "cells": [*cells, times]})
    return {"columns": [*map(_label, shown), "FLOPs / SFT's"], "rows": rows}


def _per_response(currency: str, value: float | None) -> str:
    if value is None or currency == "flops":
        return _amount(currency, value)
    return f"{value:,.1f}"


def _endings(results: Mapping[str, Any]) -> list[Record]:
    """For each training run: its budget, how much was spent, who ended it, how far over."""
    lines = []
    for run, training in results["training"].items():
        metrics = training.get("metrics", {})
        if "ended" not in metrics:
            continue
        limits = metrics["budget"]["limits"]
        ended, spent = metrics["ended"], metrics.get("spent_fraction")
        lines.append(
            {
                "run": run,
                "limits": _amounts(limits) or "none",
                "override": metrics["budget"]["override"],
                "spent": UNKNOWN if not limits or spent is None else f"{100 * spent:.1f} %",
                "ended": _ended(ended),
                "overshoot": _overshoot(metrics.get("overshoot", {}), limits),
            }
        )
    return sorted(lines, key=lambda line: _position(f"train/{line['run']}", results))


def _ended(ended: Mapping[str, Any]) -> str:
    if ended["by"] == "budget":
        return f"budget: {_label(str(ended['currency']))}"
    return f"itself: {ended['reason']}" if ended["reason"] else "itself, without a reason"


def _overshoot(overshoot: Mapping[str, float], limits: Mapping[str, float]) -> str:
    if not limits:
        return UNKNOWN
    return (
        ", ".join(
            f"{_label(currency)} +{_amount(currency, over)} ({100 * over / limits[currency]:.2g} %)"
            for currency, over in overshoot.items()
            if limits.get(currency)
        )
        or "none"
    )


def _overrides(results: Mapping[str, Any]) -> list[str]:
    """Rows whose budget is not the shared one."""
    return list(
        dict.fromkeys(
            run.rsplit("/", 1)[0]
            for run, training in results["training"].items()
            if training.get("metrics", {}).get("budget", {}).get("override")
        )
    )


def _predictions(results: Mapping[str, Any]) -> Record | None:
    """Stages with what the plan said they would spend, and what they did."""
    plan = {
        stage: given["predicted"]
        for stage, given in results.get("plan", {}).items()
        if given.get("predicted")
    }
    columns = [c for c in (*COUNTED, *TIME) if any(_number(p.get(c)) for p in plan.values())]
    if not columns:
        return None
    rows = [
        {
            "stage": stage,
            "cells": [_prediction(results, stage, plan[stage], c) for c in columns],
            "ends": _predicted_end(results["plan"][stage]),
        }
        for stage in sorted(plan, key=lambda name: _position(name, results))
    ]
    return {"columns": [_label(currency) for currency in columns], "rows": rows}


def _predicted_end(plan: Mapping[str, Any]) -> str:
    """What the plan said would end the stage's training; a stage without a budget ends itself."""
    if "ends" not in plan:
        return UNKNOWN
    return "itself" if plan["ends"] is None else f"budget: {_label(str(plan['ends']))}"


def _prediction(
    results: Mapping[str, Any], stage: str, predicted: Mapping[str, Any], currency: str
) -> Record:
    cost = results["costs"].get(stage, {})
    actual = (cost.get("consumed") or {}).get(currency)
    if currency == "wall_seconds":
        actual = cost.get("wall_seconds", cost.get("seconds"))
    elif currency == "device_seconds":
        actual = cost.get("device_seconds")
    expected = predicted.get(currency)
    ratio = ""
    if _number(expected) and _number(actual) and expected:
        ratio = f" (×{actual / expected:.2f})"
    return {
        "predicted": _amount(currency, expected if _number(expected) else None),
        "actual": _amount(currency, actual if _number(actual) else None) + ratio,
    }


def _stages(results: Mapping[str, Any]) -> Record:
    """Stages in the order of the pipeline; those of the evaluation, and a row's trials, summed."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for stage in sorted(results["costs"], key=lambda name: _position(name, results)):
        if stage != "bills":
            groups.setdefault(_group(stage), []).append(results["costs"][stage])
    bills = [cost.get("consumed") or {} for costs in groups.values() for cost in costs]
    shown = [c for c in COUNTED if any(bill.get(c) for bill in bills)]
    return {
        "columns": ["Seconds", "Peak MiB", *map(_label, shown)],
        "rows": [
            {
                "stage": name if len(costs) == 1 else f"{name} ({len(costs)} stages)",
                "cells": [
                    _amount("wall_seconds", _sum(cost.get("seconds") for cost in costs)),
                    _amount("peak_rss_bytes", _most(cost.get("peak_rss_bytes") for cost in costs)),
                    *(
                        _amount(c, _sum((cost.get("consumed") or {}).get(c) for cost in costs))
                        for c in shown
                    ),
                ],
            }
            for name, costs in groups.items()
        ],
    }


def _group(stage: str) -> str:
    kind, row = f"{stage}/".split("/")[:2]
    if kind in ("curve", "generate", "score", "judge", "matches"):
        return "evaluation"
    return f"tuning of {row}" if kind == "trial" else stage


def _sum(values: Iterable[Any]) -> float | None:
    """The sum, unknown if a part is; so is a count that one of several stages does not have."""
    known = list(values)
    return sum(known) if all(map(_number, known)) else None


def _most(values: Iterable[Any]) -> float | None:
    known = list(values)
    return max(known) if all(map(_number, known)) else None


def _position(stage: str, results: Mapping[str, Any]) -> tuple[int, int, str]:
    kind, row, _ = f"{stage}//".split("/")[:3]
    models = results["models"]
    return (
        KINDS.index(kind) if kind in KINDS else len(KINDS),
        models.index(row) if row in models else 0,
        stage,
    )


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _label(currency: str) -> str:
    return PEAKS.get(currency) or LABELS.get(currency, currency)


def _amount(currency: str, value: float | None) -> str:
    if currency in PEAKS:
        return UNKNOWN if value is None else f"{value / 2**20:,.0f}"
    return amount(currency, value)


def _amounts(limits: Mapping[str, float]) -> str:
    return ", ".join(f"{_label(c)} {_amount(c, limit)}" for c, limit in limits.items())
