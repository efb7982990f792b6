"""The report's section on health: what the rules over the training logs found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from alignbench.report.shown import UNKNOWN

Record = dict[str, Any]


def health_section(results: Mapping[str, Any]) -> Record | None:
    """Findings, errors first, and rules that could not be checked; None where nothing was.

    The same finding in several seeds stays several: its evidence differs.
    """
    findings = results.get("health") or []
    unchecked = results.get("health_unchecked") or []
    if not findings and not unchecked and "health" not in results:
        return None
    grouped: dict[tuple[str, str], list[str]] = {}
    for rule in unchecked:
        grouped.setdefault((rule["rule"], rule["reason"]), []).append(_who(rule))
    return {
        "findings": [
            {
                **finding,
                "who": _who(finding),
                "evidence": [(key, shown(value)) for key, value in finding["evidence"].items()],
            }
            for finding in sorted(findings, key=lambda finding: finding["level"] != "error")
        ],
        "unchecked": [
            {"rule": rule, "reason": reason, "who": ", ".join(who)}
            for (rule, reason), who in grouped.items()
        ],
    }


def _who(entry: Mapping[str, Any]) -> str:
    return str(entry["row"]) if entry["seed"] is None else f"{entry['row']}, seed {entry['seed']}"


def shown(value: object) -> str:
    """A value of no known type in few characters."""
    if value is None:
        return UNKNOWN
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str | int):
        return str(value)
    return json.dumps(value, ensure_ascii=False)
