"""One comparison: two samples of a number, and what their difference licenses to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from alignbench.gate.noise import apart, half_width, table_half
from alignbench.gate.tolerance import Tolerance
from alignbench.leaderboard.schema import Cell
from alignbench.stats.bootstrap import Floats

Kind = Literal["score", "training", "spent"]
Verdict = Literal["better", "same", "worse", "inconclusive"]
LIKELY = 0.95
"""Confidence of the interval that must lie within the tolerance for "same"."""
SHARED_QUANTITIES = ("loss", "eval_loss")
"""Of stages with one seed nobody knows the noise: only losses, which rounding hardly moves."""
EXACT = ("perplexity", "perplexity_reference")
"""Scores in which nothing is sampled: of a model without seeds they vary by rounding only."""
ROUNDING = Tolerance(2, percent=True)
"""Tolerance of the losses of shared stages."""
FLOOR = 1e-3
"""A size below this share of the baseline's least is as small as can be told from 0."""
COUNT_NOISE = 0.5
"""Standard deviation of a count that came out equal for all seeds, at least."""


@dataclass(frozen=True)
class Finding:
    """One comparison and what it licenses to say.

    Attributes:
        row: of the table.
        name: metric, ``training.<quantity>.<first|mean|rms>`` or ``spent.<currency>``.
        baseline, run: values; None where one side has none.
        difference, low, high: run minus baseline with its interval; of a root mean square the
            logarithm of run over baseline.
        tolerance: in the unit of the difference.
        verdict: "worse" also where the direction has no better side: it changed.
        directed: whether one direction is better.
        identical: the same seeds gave the same numbers.
    """

    row: str
    kind: Kind
    name: str
    baseline: float | None
    run: float | None
    difference: float | None
    low: float | None
    high: float | None
    tolerance: float
    verdict: Verdict
    directed: bool
    identical: bool = False

    @property
    def word(self) -> str:
        """The verdict as a person would say it."""
        return "changed" if self.verdict == "worse" and not self.directed else self.verdict


@dataclass(frozen=True)
class Sample:
    """Two samples of one number.

    Attributes:
        tolerance: differences up to it do not matter.
        fixed: a row without training seeds.
        run, base: (seeds, prompts), or one column of means; None where a side has nothing.
        same_seeds: the seeds of both sides are equal, in number and name.
        better: 1 higher, -1 lower, 0 neither.
        table: cells of the table (baseline, run) and their confidence, where prompts or seeds tell
            nothing finer; then `run` and `base` hold one value each.
        logarithm: the samples are logarithms; values are shown as they were.
        scale: of training signals the size that percent are of; 0: nothing to judge them on.
        noise: standard deviation between seeds, at least.
        dropped: prompts left out because a seed of either side does not know them.
    """

    row: str
    kind: Kind
    name: str
    tolerance: Tolerance
    fixed: bool
    run: Floats | None
    base: Floats | None
    same_seeds: bool = False
    better: int = 0
    table: tuple[Cell, Cell, float] | None = None
    logarithm: bool = False
    scale: float | None = None
    noise: float = 0.0
    dropped: int = 0

    @property
    def identical(self) -> bool:
        """Whether the same seeds gave the same numbers."""
        if self.run is None or self.base is None:
            return False
        return (self.same_seeds or self.fixed) and np.array_equal(self.run, self.base)

    def half(self, level: float) -> float | None:
        """Half-width of the interval of the difference at a confidence level."""
        if self.run is None or self.base is None or self.scale == 0:
            return None
        if self.fixed and self.run.shape[1] == 1:
            if self.kind == "training" or self.name in EXACT:
                return 0.0  # nothing varies but rounding; the tolerance is for that
            return None if self.table is None else table_half(*self.table, level, fixed=True)
        if self.table is not None:
            return table_half(*self.table, level, fixed=False)
        return half_width(self.run, self.base, level, self.fixed, self.noise)

    def judged(self, level: float, likely: float) -> Finding:
        """Compare at `level` (for better and worse) and at `likely` (for same)."""
        if self.run is None or self.base is None:
            return self._finding(None, None, 0.0, "inconclusive")
        theirs = float(self.base.mean())
        difference = float(self.run.mean()) - theirs
        if self.logarithm:
            tolerance = float(np.log1p(self.tolerance.of(1.0)))
        else:
            tolerance = self.tolerance.of(theirs if self.scale is None else self.scale)
        if self.identical:
            return self._finding(0.0, 0.0, tolerance, "same", identical=True)
        strict, narrow = self.half(level), self.half(likely)
        verdict: Verdict = "inconclusive"
        if strict is None or narrow is None:
            pass
        elif abs(difference) - strict > tolerance and (self.fixed or apart(self.run, self.base)):
            verdict = "better" if self.better * difference > 0 else "worse"
        elif abs(difference) + narrow <= tolerance:
            verdict = "same"
        return self._finding(difference, strict, tolerance, verdict)

    def _finding(
        self,
        difference: float | None,
        half: float | None,
        tolerance: float,
        verdict: Verdict,
        identical: bool = False,
    ) -> Finding:
        low = high = None
        if difference is not None and half is not None:
            low, high = difference - half, difference + half
        return Finding(
            row=self.row,
            kind=self.kind,
            name=self.name,
            baseline=self._value(self.base),
            run=self._value(self.run),
            difference=difference,
            low=low,
            high=high,
            tolerance=tolerance,
            verdict=verdict,
            directed=self.better != 0,
            identical=identical,
        )

    def _value(self, cells: Floats | None) -> float | None:
        if cells is None:
            return None
        mean = float(cells.mean())
        return float(np.exp(mean)) if self.logarithm else mean
