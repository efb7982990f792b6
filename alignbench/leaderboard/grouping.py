"""Which entries may stand in one table, and which of their rows stand apart in it.

"May share a table" (`compare`) is no equivalence: a field that two entries both leave open refuses
them, an entry may even refuse itself. Groups are therefore cliques: an entry joins the first group
in which it may share a table with every member. Entries are taken in a fixed order, so equal files
give equal groups.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from alignbench.compare import compare, same
from alignbench.leaderboard.facts import methods_of
from alignbench.leaderboard.schema import Entry
from alignbench.results.certificate import ROW_FIELDS

_UNKNOWN = object()
_OWN = ("budget", "tuned")
"""Fields by which a row leaves the terms of its own run: its namesakes stay on them."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Named:
    """An entry with the name that the page gives it: A, B, ... Z, A2, B2, ..."""

    name: str
    entry: Entry


@dataclass(frozen=True)
class Refused:
    """Why two groups are two tables: fields in which their first entries do not agree."""

    other: str
    fields: Sequence[str]


@dataclass(frozen=True)
class Group:
    """Entries that may all share one table, two by two.

    Attributes:
        entries: at least one.
        apart: (entry's name, row) -> reasons why the row does not stand on the others' terms.
    """

    entries: Sequence[Named]
    apart: Mapping[tuple[str, str], Sequence[str]]


def named(entries: Sequence[Entry]) -> list[Named]:
    """Entries in a fixed order, by recipe, profile and digest, each with its name."""
    ordered = sorted(entries, key=lambda e: (e.recipe.name, e.recipe.profile, e.digest))
    return [Named(_name(number), entry) for number, entry in enumerate(ordered)]


def groups_of(entries: Sequence[Named]) -> list[Group]:
    """The entries as tables, in the order of their first entries."""
    cliques: list[list[Named]] = []
    for one in entries:
        home = next((c for c in cliques if all(comparable(one, other) for other in c)), None)
        if home is None:
            cliques.append([one])
        else:
            home.append(one)
    return [Group(tuple(clique), _apart(clique)) for clique in cliques]


def comparable(a: Named, b: Named) -> bool:
    """Whether two entries may share a table."""
    return not compare(a.entry.certificate, b.entry.certificate).refusals


def refusals(group: Group, others: Sequence[Group]) -> list[Refused]:
    """What keeps a group apart from the others of the same recipe and profile."""
    first, found = group.entries[0], []
    for other in others:
        second = other.entries[0]
        if other is group or _experiment(first) != _experiment(second):
            continue
        certificates = first.entry.certificate, second.entry.certificate
        fields = [line.field for line in compare(*certificates).refusals]
        found.append(Refused(second.name, fields))
    return found


def weights(entry: Entry, row: str) -> Any:
    """What tells whether two rows are one model: digests by seed; None where there are none."""
    certified = entry.certificate
    if row in ("base", "sft"):
        return certified.get("base_weights" if row == "base" else "start_weights")
    trained = certified.get("trained_weights")
    if not isinstance(trained, Mapping):
        return None
    return {run: digest for run, digest in trained.items() if run.rpartition("/")[0] == row} or None


def _experiment(one: Named) -> tuple[str, str]:
    return one.entry.recipe.name, one.entry.recipe.profile


def _name(number: int) -> str:
    round_, at = divmod(number, len(_LETTERS))
    return _LETTERS[at] + (str(round_ + 1) if round_ else "")


def _apart(entries: Sequence[Named]) -> dict[tuple[str, str], list[str]]:
    """Rows that are on terms of their own within their run, or on others than their namesakes."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in entries:
        for row in methods_of(one.entry):
            for reason in _alone(one.entry.certificate["rows"][row]):
                found.setdefault((one.name, row), []).append(reason)
    for a, b in combinations(entries, 2):
        for row, reason in _between(a, b):
            for one in (a, b):
                found.setdefault((one.name, row), []).append(reason)
    return found


def _alone(fields: Mapping[str, Any]) -> Iterator[str]:
    if fields.get("budget"):
        yield f"has a budget of its own: {_words(fields['budget'])}"
    if fields.get("tuned") is False:
        yield "is not tuned, where others are"


def _between(a: Named, b: Named) -> Iterator[tuple[str, str]]:
    rows_a, rows_b = a.entry.certificate["rows"], b.entry.certificate["rows"]
    for row in sorted(rows_a.keys() & rows_b.keys()):
        for field in ROW_FIELDS:
            one, other = (rows[row].get(field.path, _UNKNOWN) for rows in (rows_a, rows_b))
            if field.rule != "apart" or field.path in _OWN or _UNKNOWN in (one, other):
                continue
            if same(one, other):
                continue
            values = f"{_words(one)} in {a.name}, {_words(other)} in {b.name}"
            yield row, f"{field.reason}: {values}"


def _words(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(item)}" for key, item in value.items())
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)
