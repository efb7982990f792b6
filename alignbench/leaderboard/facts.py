"""What numbers of an entry can be, and the questions that all checks ask of it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from alignbench.judges.base import SENTINELS
from alignbench.leaderboard.schema import Entry
from alignbench.results.metrics import METRIC, OF_A_SET
from alignbench.results.observations import PERPLEXITIES
from alignbench.stats.inputs import LARGEST

BEFORE_METHODS = ("base", "sft", *SENTINELS)
PERCENT, SHARE, _RATING, _TEN = (0.0, 100.0), (0.0, 1.0), (1.0, 10.0), (0.0, 10.0)
#: Exact KL is never negative; a sum of rounded terms may be, by a little.
RANGES = {
    **dict.fromkeys(("reward_proxy", "reward_gold", "reward_gold_rm"), _TEN),
    **dict.fromkeys(("helpful", "harmless", "honest"), _RATING),
    **dict.fromkeys(PERPLEXITIES, (1.0, LARGEST)),
    **dict.fromkeys(OF_A_SET, SHARE),
    **dict.fromkeys((name for name in METRIC if "win_rate" in name or "_rate" in name), PERCENT),
    **dict.fromkeys(("length", "characters"), (0.0, LARGEST)),
    "kl_from_sft": (-0.01, LARGEST),
    "reward_model": (-LARGEST, LARGEST),
}


def methods_of(entry: Entry) -> list[str]:
    """The rows that compete: neither references nor sentinels."""
    return [model for model in entry.models if model not in BEFORE_METHODS]


def values_of(entry: Entry) -> dict[tuple[str, str], float | None]:
    """(row, metric) -> value."""
    return {(cell.model, cell.metric): cell.value for cell in entry.rows}


def close(a: float | None, b: float | None, tolerance: float = 1e-5) -> bool:
    """Equal but for rounding: observations are published with six digits."""
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)


def range_text(metric: str) -> str:
    """The values that a metric can have, in words."""
    least, most = RANGES[metric]
    return f"{least:g} to {most:g}" if most < LARGEST else f"at least {least:g}"


def inside(where: str, value: float | None, low: float | None, high: float | None) -> Iterator[str]:
    """Whether an interval is whole and contains its value."""
    if (low is None) != (high is None):
        yield f"{where}: an interval has two bounds or none"
    elif low is not None and high is not None:
        if value is None:
            yield f"{where}: an interval without a value"
        elif not (low <= value or close(low, value)) or not (value <= high or close(value, high)):
            yield f"{where}: its interval {low:g} to {high:g} does not contain its value {value:g}"
