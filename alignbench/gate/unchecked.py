"""What a check should have compared and could not: silence must not read as "no change"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from alignbench.gate.pairing import methods_of
from alignbench.gate.samples import LIKELY, SHARED_QUANTITIES, Sample
from alignbench.gate.tolerance import SPENT, TRAINING
from alignbench.leaderboard.schema import Entry, Trained
from alignbench.leaderboard.signals import SHARED

STEPWISE = ("grad_norm", "learning_rate")
"""Logged at every `logging_steps` steps and not at the end: trainings that end before have none."""


def untested(baseline: Entry, run: Entry, compared: Sequence[Sample]) -> Iterator[str]:
    """Sentences on rows, methods and signals of the baseline that nothing guards in the run.

    Of entries without any training signals (older ones) nothing is said here.
    """
    for row in baseline.models:
        if row not in run.models:
            yield f"row {row} of the baseline is not in the run"
    methods = methods_of(baseline, run)
    if not methods:
        yield "nothing could be tested: the two have no method in common"
    tested = {(s.row, s.kind) for s in compared if is_tested(s)}
    for row in methods:
        if not any((row, kind) in tested for kind in ("score", "training", "spent")):
            yield f"{row}: nothing could be tested: too few seeds"
        elif (row, "training") not in tested and _both_logged(baseline, run, row):
            yield f"{row}: no training signal could be tested"
    for row, theirs in (baseline.training or {}).items():
        mine = (run.training or {}).get(row)
        if row in methods or (row in SHARED and row in run.models and mine is not None):
            yield from _missing_signals(row, theirs, mine)


def is_tested(sample: Sample) -> bool:
    """Whether chance could be judged, or need not be."""
    return not sample.fixed and (sample.half(LIKELY) is not None or sample.identical)


def uncompared(
    baseline: Entry, run: Entry, compared: Sequence[Sample], deciding: Sequence[str], each: bool
) -> Iterator[str]:
    """Sentences on deciding metrics of methods that were not compared at all.

    Args:
        each: every deciding metric must be there; else one of them will do.
    """
    there = {(sample.row, sample.name) for sample in compared}
    for row in methods_of(baseline, run):
        # Nothing wins against itself.
        asked = [name for name in deciding if name != f"win_rate_vs_{row}"]
        absent = [name for name in asked if (row, name) not in there]
        if each or len(absent) == len(asked):
            yield from (f"{row}: {name} was not compared" for name in absent)


def _both_logged(baseline: Entry, run: Entry, row: str) -> bool:
    trained = [(entry.training or {}).get(row) for entry in (baseline, run)]
    return all(each is not None and each.quantities for each in trained)


def _missing_signals(row: str, baseline: Trained, run: Trained | None) -> Iterator[str]:
    """What the baseline's training of a row has and the run's has not.

    A quantity that became infinite or nan is not logged, and then is missing.
    """
    seeds = 0 if run is None else len(run.seeds)
    names = SHARED_QUANTITIES if row in SHARED else tuple(baseline.quantities)
    signals = {
        name: baseline.quantities[name].mean for name in names if name in baseline.quantities
    }
    now = {} if run is None else {name: signal.mean for name, signal in run.quantities.items()}
    if any(map(_known, signals.values())) and not any(
        _known(now.get(name, ())) for name in signals
    ):
        yield f"{row}: the run has no training signals"
    else:
        yield from _missing(f"{row}: {TRAINING}", signals, now, seeds)
    if row not in SHARED:
        spent = {} if run is None else run.spent
        yield from _missing(f"{row}: {SPENT}", baseline.spent, spent, seeds)


def _missing(
    where: str,
    baseline: Mapping[str, Sequence[float | None]],
    run: Mapping[str, Sequence[float | None]],
    seeds: int,
) -> Iterator[str]:
    for name, values in baseline.items():
        if not _known(values):
            continue
        now = run.get(name, [None] * seeds)
        gone = [seed for seed, value in enumerate(now) if value is None]
        stepwise = name in STEPWISE
        if None in values or (stepwise and _known(now)):
            # A training may be too short to log it, unless it has what is logged along with it.
            gaps = _gaps(values)
            along = STEPWISE if stepwise else [n for n in baseline if _gaps(baseline[n]) == gaps]
            logged = [run[other] for other in along if other in run]
            gone = [seed for seed in gone if any(each[seed] is not None for each in logged)]
        if gone:
            yield f"{where}.{name} is missing in {len(gone)} of the run's {seeds} seeds"


def _gaps(values: Sequence[float | None]) -> list[bool]:
    return [value is None for value in values]


def _known(values: Sequence[float | None]) -> int:
    return sum(value is not None for value in values)
