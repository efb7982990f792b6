"""What of two entries is compared: every row and metric, training signal and amount spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from alignbench.gate.noise import in_common
from alignbench.gate.samples import COUNT_NOISE, FLOOR, ROUNDING, SHARED_QUANTITIES, Sample
from alignbench.gate.tolerance import SPENT, TRAINING, Tolerance, Tolerances
from alignbench.leaderboard.schema import Entry, Observations, Signal, Trained
from alignbench.leaderboard.signals import SHARED
from alignbench.results.metrics import METRIC
from alignbench.stats.bootstrap import Floats

DIRECTION = {"higher": 1, "lower": -1, None: 0}


def samples(baseline: Entry, run: Entry, tolerances: Tolerances) -> Iterator[Sample]:
    """Everything that the baseline has of rows that both have."""
    rows = [row for row in baseline.models if row in run.models]
    for row in rows:
        yield from _scores(row, baseline, run, tolerances)
    if baseline.training is None or run.training is None:
        return
    start = "start_weights"
    for row in rows:
        if row in baseline.training and row in run.training:
            theirs, mine = baseline.training[row], run.training[row]
            began = baseline.certificate.get(start) == run.certificate.get(start)
            exact = row in SHARED or (began and theirs.seeds == mine.seeds)
            yield from _trainings(row, theirs, mine, tolerances, exact)


def _scores(row: str, baseline: Entry, run: Entry, tolerances: Tolerances) -> Iterator[Sample]:
    theirs = {cell.metric: cell for cell in baseline.rows if cell.model == row}
    mine = {cell.metric: cell for cell in run.rows if cell.model == row}
    fixed = row not in baseline.certificate.get("rows", {})
    same = _seeds(baseline.observations, row) == _seeds(run.observations, row) is not None
    for name, cell in theirs.items():
        if cell.value is None:
            continue
        better = DIRECTION[METRIC[name].better]
        sample = partial(
            Sample, row, "score", name, tolerances[name], fixed, same_seeds=same, better=better
        )
        other = mine.get(name)
        cells = _cells(baseline.observations, run.observations, row, name)
        if other is None or other.value is None:
            yield sample(None, np.array([[cell.value]]))
        elif cells is not None and cells[0].shape[1] == 0:
            yield sample(None, np.array([[cell.value]]), dropped=cells[2])
        elif cells is not None and not (fixed and cells[0].shape[1] == 1):
            yield sample(*cells[:2], dropped=cells[2])
        else:
            table = (cell, other, baseline.statistics.confidence)
            yield sample(np.array([[other.value]]), np.array([[cell.value]]), table=table)


def methods_of(baseline: Entry, run: Entry) -> list[str]:
    """Rows of both that were trained with seeds of their own."""
    rows = baseline.certificate.get("rows", {})
    return [row for row in baseline.models if row in rows and row in run.models]


def _seeds(observed: Observations | None, row: str) -> Sequence[int] | None:
    seen = None if observed is None else observed.rows.get(row)
    return None if seen is None else seen.seeds


def _cells(
    theirs: Observations | None, mine: Observations | None, row: str, name: str
) -> tuple[Floats, Floats, int] | None:
    """(seeds, prompts) of run and baseline, and how many prompts were dropped.

    Prompts are those that all seeds of both know, none for fewer than two; where a metric is not
    known prompt by prompt, (seeds, 1) means.
    """
    if theirs is None or mine is None or row not in theirs.rows or row not in mine.rows:
        return None
    base, run = theirs.rows[row], mine.rows[row]
    if name in base.prompts and name in run.prompts:
        place = {prompt: at for at, prompt in enumerate(mine.prompts)}
        there = [at for at, prompt in enumerate(theirs.prompts) if prompt in place]
        base_cells = np.array(base.prompts[name], dtype=np.float64)
        run_cells = np.full((len(run.seeds), len(theirs.prompts)), np.nan)
        columns = [place[theirs.prompts[at]] for at in there]
        run_cells[:, there] = np.array(run.prompts[name], dtype=np.float64)[:, columns]
        run_known, base_known, dropped = in_common(run_cells, base_cells)
        few = run_known.shape[1] < 2
        return run_known[:, few:], base_known[:, few:], dropped + few * run_known.shape[1]
    run_means, base_means = (_column(seen.means.get(name, [])) for seen in (run, base))
    return None if run_means is None or base_means is None else (run_means, base_means, 0)


def _column(values: Sequence[float | None]) -> Floats | None:
    """(seeds, 1), seeds without a value left out; None without any."""
    known = [value for value in values if value is not None]
    return np.array(known, dtype=np.float64)[:, None] if known else None


def _trainings(
    row: str, baseline: Trained, run: Trained, tolerances: Tolerances, exact: bool
) -> Iterator[Sample]:
    """Signals and amounts of a row; of stages with one seed the losses alone."""
    for name, signal in baseline.quantities.items():
        other = run.quantities.get(name)
        if row not in SHARED:
            yield from _signal(row, name, signal, other, tolerances[TRAINING], exact)
        elif name in SHARED_QUANTITIES:
            yield from _shared_signal(row, name, signal, other)
    if row in SHARED:
        return
    same = baseline.seeds == run.seeds
    for name, amounts in baseline.spent.items():
        base, mine = _column(amounts), _column(run.spent.get(name, []))
        if base is None or not (base.any() or (mine is not None and mine.any())):
            continue
        tolerance = tolerances[SPENT]
        noise = max(COUNT_NOISE, tolerance.of(float(base.mean())) / 2)
        label = f"{SPENT}.{name}"
        yield Sample(row, "spent", label, tolerance, False, mine, base, same, noise=noise)


def _signal(
    row: str,
    name: str,
    signal: Signal,
    other: Signal | None,
    tolerance: Tolerance,
    exact: bool,
) -> Iterator[Sample]:
    """Mean and root mean square over the training; the first step where it must be equal.

    One step of a few answers has tails that Student's t does not hold for: between other seeds it
    is not compared. From the same weights with the same seeds nothing but rounding can differ.
    Percent are of the baseline's size; of what was always 0 there, of the run's, and then no
    noise is presumed: of rare events, one in each seed of the run looks like certainty.
    """
    base, sizes = _column(signal.mean), _column(signal.rms)
    if base is None or sizes is None:
        return
    now = None if other is None else _column(other.rms)
    was = float(sizes.mean())
    scale = was or (0.0 if now is None else float(now.mean()))
    sample = partial(Sample, row, "training", tolerance=tolerance)
    label = f"{TRAINING}.{name}"
    if exact and (first := _column(signal.first)) is not None:
        mine = None if other is None else _column(other.first)
        yield sample(f"{label}.first", fixed=True, run=mine, base=first, scale=scale)
    mine = None if other is None else _column(other.mean)
    noise = tolerance.of(was) / 2
    about = partial(sample, fixed=False, same_seeds=exact)
    yield about(f"{label}.mean", run=mine, base=base, scale=scale, noise=noise)
    if (sizes > 0).all():
        logs = None if now is None else np.log(np.maximum(now, FLOOR * sizes.min()))
        noise = float(np.log1p(tolerance.of(1.0))) / 2
        yield about(f"{label}.rms", run=logs, base=np.log(sizes), logarithm=True, noise=noise)


def _shared_signal(row: str, name: str, signal: Signal, other: Signal | None) -> Iterator[Sample]:
    for key in ("first", "mean"):
        base = _column(getattr(signal, key))
        mine = None if other is None else _column(getattr(other, key))
        if base is not None:
            yield Sample(row, "training", f"{TRAINING}.{name}.{key}", ROUNDING, True, mine, base)
