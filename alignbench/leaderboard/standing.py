"""How rows of several runs stand to each other: who is separably best, and by how much.

Runs of one group answered the same prompts. Where both published the answers' scores prompt by
prompt, rows are compared as within a run: paired by prompt, with the same hierarchical bootstrap.
Else the runs are compared unpaired and a row is called better only where the intervals do not
overlap, which is stricter than a test of the difference. Seeds of two runs are independent draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alignbench.judges.base import SENTINELS
from alignbench.leaderboard.facts import PERCENT, RANGES, methods_of
from alignbench.leaderboard.grouping import Group, Named, weights
from alignbench.leaderboard.make import PROMPT_BY_PROMPT
from alignbench.leaderboard.recomputed import MOST_RESAMPLES, cells_of
from alignbench.leaderboard.schema import Cell
from alignbench.results.metrics import METRIC, OF_A_SET
from alignbench.results.schema import RESAMPLING_SEED
from alignbench.stats.bootstrap import Floats, Interval
from alignbench.stats.comparison import Verdict, holm, verdict
from alignbench.stats.hierarchical import Difference, paired_difference

Row = tuple[str, str]
"""Name of the entry, and row in it."""


@dataclass(frozen=True)
class Lead:
    """The leading row minus another one.

    Attributes:
        row, other: leader and other.
        difference, low, high: of the metric; bounds None where unknown.
        p_holm: corrected over all comparisons of the leader; None where unpaired.
        paired: by prompt; False: by whether the intervals overlap.
        verdict: of the leader.
    """

    row: Row
    other: Row
    difference: float | None
    low: float | None
    high: float | None
    p_holm: float | None
    paired: bool
    verdict: Verdict


def cells(group: Group) -> dict[tuple[Row, str], Cell]:
    """Every number of the group, by row and metric."""
    return {
        ((one.name, cell.model), cell.metric): cell
        for one in group.entries
        for cell in one.entry.rows
    }


def best_of(group: Group) -> dict[str, list[Row]]:
    """Per metric the row that is separably better than every other of the group; [] = none is.

    Sentinels and rows that are set apart do not compete. A model does not compete with itself:
    equal weights in two entries are one row, and best together. Within one entry its own
    statistics decide, which `consistency` has checked.
    """
    best: dict[str, list[Row]] = {}
    table = cells(group)
    for metric in METRIC.values():
        if metric.better is None or metric.name in OF_A_SET:
            continue
        values = _competing(group, table, metric.name)
        if len(values) < 2:
            continue
        sign = 1 if metric.better == "higher" else -1
        top = max(values, key=lambda row: sign * values[row])
        same = [row for row in values if row == top or _one_model(group, row, top)]
        rivals = [row for row in values if row not in same]
        if rivals:
            best[metric.name] = same if _beats(group, table, metric.name, top, rivals) else []
    return best


def lead_of(group: Group, metric: str) -> list[Lead]:
    """The method that leads in `metric` against every other method and the references."""
    table = cells(group)
    values = _competing(group, table, metric)
    sign = 1 if METRIC[metric].better == "higher" else -1
    methods = {(one.name, row) for one in group.entries for row in methods_of(one.entry)}
    leading = [row for row in values if row in methods]
    if not leading:
        return []
    top = max(leading, key=lambda row: sign * values[row])
    rivals = [row for row in values if row != top and not _one_model(group, row, top)]
    return _leads(group, table, metric, top, rivals)


def _competing(
    group: Group, table: Mapping[tuple[Row, str], Cell], metric: str
) -> dict[Row, float]:
    return {
        row: cell.value
        for (row, of), cell in table.items()
        if of == metric
        and cell.value is not None
        and row[1] not in SENTINELS
        and row not in group.apart
    }


def _one_model(group: Group, a: Row, b: Row) -> bool:
    """Whether two rows of two entries are the same weights."""
    entries = {one.name: one.entry for one in group.entries}
    own = weights(entries[a[0]], a[1])
    return a[0] != b[0] and own is not None and own == weights(entries[b[0]], b[1])


def _beats(
    group: Group,
    table: Mapping[tuple[Row, str], Cell],
    metric: str,
    top: Row,
    rivals: Sequence[Row],
) -> bool:
    """Whether every rival is separable from the top: an intersection-union test, uncorrected."""
    entry = next(one.entry for one in group.entries if one.name == top[0])
    if any(row[0] == top[0] for row in rivals) and entry.statistics.best.get(metric) != top[1]:
        return False
    sign = 1 if METRIC[metric].better == "higher" else -1
    others = [row for row in rivals if row[0] != top[0]]
    others.sort(key=lambda row: abs(_value(table, top, metric) - _value(table, row, metric)))
    for row in others:  # the closest first: mostly that one decides
        (lead,) = _leads(group, table, metric, top, [row])
        bound = lead.low if sign > 0 else lead.high
        if bound is None or sign * bound <= 0:
            return False
    return True


def _value(table: Mapping[tuple[Row, str], Cell], row: Row, metric: str) -> float:
    value = table[row, metric].value
    return math.nan if value is None else value


def _leads(
    group: Group,
    table: Mapping[tuple[Row, str], Cell],
    metric: str,
    top: Row,
    rivals: Sequence[Row],
) -> list[Lead]:
    entries = {one.name: one for one in group.entries}
    confidence = entries[top[0]].entry.statistics.confidence
    sign = 1 if METRIC[metric].better == "higher" else -1
    found = {
        row: _paired(entries, metric, top, row)
        for row in rivals
        if _both_seen(entries, metric, top, row)
    }
    adjusted = dict(zip(found, holm([each.p_value for each in found.values()]), strict=True))
    leads = []
    for row in rivals:
        if row not in found:
            leads.append(_unpaired(table, metric, top, row, sign))
            continue
        made = found[row]
        oriented = Interval(None if made.value is None else sign * made.value)
        said = verdict(oriented, adjusted[row], confidence)
        leads.append(Lead(top, row, made.value, made.low, made.high, adjusted[row], True, said))
    return leads


def _both_seen(entries: Mapping[str, Named], metric: str, a: Row, b: Row) -> bool:
    if metric not in PROMPT_BY_PROMPT:
        return False
    seen = [(entries[name].entry.observations, row) for name, row in (a, b)]
    return all(o is not None and metric in o.rows[row].prompts for o, row in seen) and bool(
        set(_texts(entries[a[0]])) & set(_texts(entries[b[0]]))
    )


def _texts(one: Named) -> dict[str, int]:
    """Digest of an evaluation prompt's text -> its column in the observations."""
    digests = {p["id"]: p["sha256"] for p in one.entry.certificate.get("eval_prompts", ())}
    seen = one.entry.observations
    return {digests[p]: column for column, p in enumerate(seen.prompts)} if seen else {}


def _paired(entries: Mapping[str, Named], metric: str, a: Row, b: Row) -> Difference:
    """a minus b over the prompts that both know."""
    first, order = entries[a[0]].entry.statistics, list(_texts(entries[a[0]]))
    return paired_difference(
        *(_matrix(entries[row[0]], row[1], metric, order) for row in (a, b)),
        resamples=MOST_RESAMPLES,
        confidence=first.confidence,
        seed=RESAMPLING_SEED,
        bounds=PERCENT if RANGES[metric] == PERCENT else None,
    )


def _matrix(one: Named, row: str, metric: str, order: Sequence[str]) -> Floats:
    """Observations with the columns in the order of `order` (digests of texts), nan = unknown."""
    seen = one.entry.observations
    if seen is None:
        raise ValueError(f"entry {one.name} has no observations")
    own, columns = cells_of(seen, row, metric), _texts(one)
    found = np.full((len(own), len(order)), np.nan)
    for at, digest in enumerate(order):
        if digest in columns:
            found[:, at] = own[:, columns[digest]]
    return found


def _unpaired(
    table: Mapping[tuple[Row, str], Cell], metric: str, top: Row, row: Row, sign: int
) -> Lead:
    a, b = table[top, metric], table[row, metric]
    difference = None if a.value is None or b.value is None else a.value - b.value
    low = high = None
    if a.low is not None and a.high is not None and b.low is not None and b.high is not None:
        low, high = a.low - b.high, a.high - b.low
    said: Verdict = "not separable"
    if low is not None and high is not None and (low > 0 or high < 0):
        said = "better" if sign * low > 0 else "worse"
    return Lead(top, row, difference, low, high, None, False, said)
