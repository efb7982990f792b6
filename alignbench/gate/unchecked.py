"""What a check should have compared and could not: silence must not read as "no change"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from alignbench.gate.pairing import methods_of
from alignbench.gate.samples import LIKELY, SHARED_QUANTITIES, Sample
from alignbench.gate.tolerance import SPENT, TRAINING
from alignbench.leaderboard.schema import Entry, Trained
from alignbench.leaderboard.signals import SHARED


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
        elif _quantities(baseline, row) and (row, "training") not in tested:
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


def _quantities(entry: Entry, row: str) -> Mapping[str, object]:
    trained = (entry.training or {}).get(row)
    return {} if trained is None else trained.quantities


def _missing_signals(row: str, baseline: Trained, run: Trained | None) -> Iterator[str]:
    """What the baseline's training of a row has and the run's has not.

    A quantity that became infinite or nan is not logged, and then is missing.
    """
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
        yield from _missing(f"{row}: {TRAINING}", signals, now)
    if row not in SHARED:
        yield from _missing(f"{row}: {SPENT}", baseline.spent, {} if run is None else run.spent)


def _missing(
    where: str,
    baseline: Mapping[str, Sequence[float | None]],
    run: Mapping[str, Sequence[float | None]],
) -> Iterator[str]:
    for name, values in baseline.items():
        now = run.get(name, ())
        if _known(values) and not _known(now):
            yield f"{where}.{name} is not in the run"
        elif None not in values and None in now:
            yield f"{where}.{name} is known of {_known(now)} of the run's {len(now)} seeds"


def _known(values: Sequence[float | None]) -> int:
    return sum(value is not None for value in values)
