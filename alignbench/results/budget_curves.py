"""Quality along training: points with intervals, and where a method stopped improving.

Three findings, on gold reward only (what methods do not see):

- observed peak: some snapshot before the end beats the end by a paired difference that excludes 0.
  Any of m snapshots could have been the peak, so the interval has confidence 1 - (1 - c) / m
  (Bonferroni);
- fitted peak: the peak of R(d) = d (alpha - beta log d), see `stats.reward_kl`. Reported as a
  finding where some snapshot is separably better than the start, the fit explains at least 80 %
  of the variance, and its bootstrap has the peak before the end's KL at confidence c;
- plateau: after some snapshot that is better than the start, none is separably better.

Which is found follows from resampling seeds and prompts (`stats.bootstrap`), all points of a row on
the same draws.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignbench.errors import UserError
from alignbench.files import read_jsonl
from alignbench.stats.bootstrap import Bootstrap, Floats, Interval, mean, percentile_interval
from alignbench.stats.reward_kl import fit_reward_kl

Record = dict[str, Any]
MEASURES = {"reward_proxy": "proxy", "reward_gold": "gold", "kl": "kl", "length": "length"}
"""Quantity of a point -> field of curve.jsonl."""
MIN_FIT_POINTS = 4
"""Points beyond the start that a fit of two parameters wants."""
MIN_R_SQUARED = 0.8
"""A fit that explains less of the gains' variance describes another curve than this one."""


@dataclass(frozen=True)
class Point:
    """One snapshot of a row over its seeds.

    Attributes:
        asked: share of the budget at which it was asked for.
        fraction, step, consumed: where it was taken, mean over seeds.
        cells: quantity (of `MEASURES`) -> array (seeds, prompts).
    """

    asked: float
    fraction: float
    step: float
    consumed: Mapping[str, float]
    cells: Mapping[str, Floats]


def curves_record(
    inputs: Mapping[str, Path],
    runs: Sequence[tuple[str, int]],
    resamples: int,
    confidence: float,
    seed: int,
) -> Record:
    """Points, fits and findings of all rows that have ``curve/<row>/<seed>`` stages.

    Args:
        inputs: stage name -> folder.
        runs: (row, seed) in the order of the table.
        resamples, confidence, seed: of the bootstrap.

    Returns:
        ``{"prompts": n, "rows": {row: {"seeds", "points": [{"asked", "fraction", "step",
        "consumed", "reward_proxy": {"value", "low", "high"}, "reward_gold", "kl", "length"}],
        "fit": {...} | None}}, "findings": [{"row", "kind": "observed peak" | "fitted peak" |
        "plateau", "fraction", "message", ...}]}``.

    Raises:
        UserError: rows whose snapshots answered different prompts.
    """
    folders: dict[str, list[Path]] = {}
    for row, run_seed in runs:
        if f"curve/{row}/{run_seed}" in inputs:
            folders.setdefault(row, []).append(inputs[f"curve/{row}/{run_seed}"])
    prompts = _common_prompts(folders)
    record: Record = {"prompts": prompts, "rows": {}, "findings": []}
    if not prompts:
        return record
    bootstrap = Bootstrap(prompts, resamples, seed)
    for stream, (row, own) in enumerate(folders.items()):
        points = read_points(own)
        if points[-1].step == 0:
            continue  # a method that trains nothing has no curve
        curve = Curve(points, bootstrap, confidence, stream)
        record["rows"][row] = {"seeds": len(own), "points": curve.table(), "fit": curve.fit()}
        record["findings"] += [{"row": row, **finding} for finding in curve.findings()]
    return record


def _common_prompts(folders: Mapping[str, Sequence[Path]]) -> int:
    """Number of prompts, which all curves must share."""
    first: list[str] | None = None
    for row, own in folders.items():
        for folder in own:
            ids = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["prompt_ids"]
            first = ids if first is None else first
            if ids != first:
                raise UserError(
                    f"{row}: its snapshots answered other prompts than those of the rows before "
                    "it; budget curves need one set. Remove the curve stages from the store and "
                    "run again."
                )
    return len(first or ())


def read_points(folders: Sequence[Path]) -> list[Point]:
    """The snapshots that every seed of a row has, in order; one folder for each seed."""
    seeds = [
        {float(line["asked"]): line for line in read_jsonl(folder / "curve.jsonl")}
        for folder in folders
    ]
    points = []
    for asked in sorted(set.intersection(*(set(lines) for lines in seeds))):
        lines = [seed[asked] for seed in seeds]
        points.append(
            Point(
                asked,
                float(np.mean([line["fraction"] for line in lines])),
                float(np.mean([line["step"] for line in lines])),
                {
                    currency: float(np.mean([line["consumed"][currency] for line in lines]))
                    for currency in lines[0]["consumed"]
                },
                {
                    name: np.array([line[field] for line in lines], dtype=np.float64)
                    for name, field in MEASURES.items()
                },
            )
        )
    return points


class Curve:
    """The snapshots of one row, the start first and the final model last.

    Args:
        points: at least the two ends.
        bootstrap: over the prompts.
        confidence: of the intervals.
        stream: number of the row; all its points share draws of seeds and prompts.
    """

    def __init__(
        self, points: Sequence[Point], bootstrap: Bootstrap, confidence: float, stream: int
    ) -> None:
        self.points = list(points)
        self._bootstrap, self._confidence, self._stream = bootstrap, confidence, stream

    def table(self) -> list[Record]:
        """All points with their intervals."""
        return [
            {
                "asked": point.asked,
                "fraction": point.fraction,
                "step": point.step,
                "consumed": dict(point.consumed),
                **{
                    name: vars(self._interval(point.cells[name], self._confidence))
                    for name in MEASURES
                },
            }
            for point in self.points
        ]

    def findings(self) -> list[Record]:
        """Observed peak or, without one, plateau; then the fitted peak."""
        found = [self._observed_peak() or self._plateau(), self._fitted_peak()]
        return [finding for finding in found if finding is not None]

    def difference(self, quantity: str, at: int, other: int, confidence: float) -> Interval:
        """Point `at` minus point `other`, paired by seed and prompt."""
        cells = self.points[at].cells[quantity] - self.points[other].cells[quantity]
        return self._interval(cells, confidence)

    def _interval(self, cells: Floats, confidence: float) -> Interval:
        draws = self._bootstrap.means(cells, self._stream)
        return percentile_interval(mean(cells), draws, self._bootstrap.n_units, confidence)

    def _strict(self) -> float:
        """Confidence of a claim about one of all points after the start."""
        return 1 - (1 - self._confidence) / max(1, len(self.points) - 1)

    def _gold(self) -> list[float]:
        values = [mean(point.cells["reward_gold"]) for point in self.points]
        return [-np.inf if value is None else value for value in values]

    def _observed_peak(self) -> Record | None:
        """The best snapshot, if the end is separably worse."""
        gold, end = self._gold(), len(self.points) - 1
        best = int(np.argmax(gold))
        fall = self.difference("reward_gold", best, end, self._strict())
        if best == end or fall.low is None or fall.low <= 0:
            return None
        proxy = self.difference("reward_proxy", end, best, self._confidence)
        risen = proxy.low is not None and proxy.low > 0
        at = self.points[best].fraction
        message = (
            f"stopped improving at {_percent(at)} of the budget: gold reward peaked there and fell "
            f"by {_with_bounds(fall)} until the end"
        )
        if best == 0:
            message = f"never improved: gold reward fell by {_with_bounds(fall)} from start to end"
        if risen:
            message += f", while proxy reward rose by {_with_bounds(proxy)}"
        return {
            "kind": "observed peak",
            "fraction": at,
            "fall": vars(fall),
            "proxy_rose": risen,
            "message": f"{message}.",
        }

    def _plateau(self) -> Record | None:
        """The earliest snapshot better than the start after which none is separably better.

        What was gained is claimed at the strict confidence, that nothing more was at the plain
        one: both ways the claim is the harder one.
        """
        end = len(self.points) - 1
        for at in range(1, end):
            gained = self.difference("reward_gold", at, 0, self._strict())
            if gained.low is None or gained.low <= 0:
                continue
            later = [
                self.difference("reward_gold", after, at, self._confidence)
                for after in range(at + 1, end + 1)
            ]
            if any(rise.low is not None and rise.low > 0 for rise in later):
                continue
            fraction = self.points[at].fraction
            return {
                "kind": "plateau",
                "fraction": fraction,
                "gain": vars(gained),
                "later": vars(later[-1]),
                "message": (
                    f"no separable gain after {_percent(fraction)} of the budget: from there to "
                    f"the end gold reward changed by {_with_bounds(later[-1])}."
                ),
            }
        return None

    def fit(self) -> Record | None:
        """The fitted R(d), its peak, and whether that lies before the end; None when too few.

        ``before_end`` is the share of bootstrap fits whose peak is at less KL than the end.
        """
        moved = [i for i in range(1, len(self.points)) if (self._kl(i) or 0) > 0]
        if len(moved) < MIN_FIT_POINTS:
            return None
        gains, kls = zip(*(self._moved(i) for i in moved), strict=True)
        value = fit_reward_kl(
            np.array([[gain[0] for gain in gains]]), np.array([[kl[0] for kl in kls]])
        )
        draws = fit_reward_kl(
            np.stack([gain[1:] for gain in gains], axis=1), np.stack([kl[1:] for kl in kls], axis=1)
        )
        if not np.isfinite(value.alpha[0]):
            return None
        peak = float(value.peak[0])
        before = draws.peak < draws.end
        known = np.isfinite(draws.alpha)
        return {
            "alpha": float(value.alpha[0]),
            "beta": float(value.beta[0]),
            "peak_kl": peak if np.isfinite(peak) else None,
            "peak_fraction": self._fraction_at(peak),
            "end_kl": float(value.end[0]),
            "r_squared": float(value.r_squared[0]) if np.isfinite(value.r_squared[0]) else None,
            "before_end": float(before[known].mean()) if known.any() else None,
            "points": len(moved),
        }

    def _fitted_peak(self) -> Record | None:
        fit = self.fit()
        if fit is None or fit["peak_fraction"] is None or fit["before_end"] is None:
            return None
        sure = fit["before_end"] >= (1 + self._confidence) / 2
        if not sure or (fit["r_squared"] or 0.0) < MIN_R_SQUARED or not self._rose():
            return None
        return {
            "kind": "fitted peak",
            "fraction": fit["peak_fraction"],
            "message": (
                f"by the fitted R(d) = d ({fit['alpha']:.2f} - {fit['beta']:.2f} log d), d = "
                f"sqrt(KL), gold reward peaks at a KL of {fit['peak_kl']:.2g} nats, passed at "
                f"about {_percent(fit['peak_fraction'])} of the budget (the end has "
                f"{fit['end_kl']:.2g} nats)."
            ),
        }

    def _rose(self) -> bool:
        """Whether some snapshot is separably better than the start."""
        gains = (
            self.difference("reward_gold", at, 0, self._strict())
            for at in range(1, len(self.points))
        )
        return any(gain.low is not None and gain.low > 0 for gain in gains)

    def _kl(self, at: int) -> float | None:
        return mean(self.points[at].cells["kl"])

    def _moved(self, at: int) -> tuple[Floats, Floats]:
        """Gain in gold reward over the start, and KL: the value first, then its draws."""
        cells = self.points[at].cells
        gain = cells["reward_gold"] - self.points[0].cells["reward_gold"]
        return self._value_and_draws(gain), self._value_and_draws(cells["kl"])

    def _value_and_draws(self, cells: Floats) -> Floats:
        value = mean(cells)
        first = np.nan if value is None else value
        return np.concatenate([[first], self._bootstrap.means(cells, self._stream)])

    def _fraction_at(self, kl: float) -> float | None:
        """Where along training the KL first passes `kl`; None when it does not."""
        for at in range(1, len(self.points)):
            before, after = self._kl(at - 1) or 0.0, self._kl(at) or 0.0
            if before <= kl < after:
                share = (kl - before) / (after - before)
                first, last = self.points[at - 1].fraction, self.points[at].fraction
                return first + share * (last - first)
        return None


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def _with_bounds(interval: Interval) -> str:
    if interval.value is None:
        return "–"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.2f} [–]"
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
