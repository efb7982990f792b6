"""A recipe over time: what its entries measured, oldest first."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import packaging.version

from alignbench.compare import compare
from alignbench.leaderboard.facts import BEFORE_METHODS
from alignbench.leaderboard.grouping import Named
from alignbench.leaderboard.schema import Cell
from alignbench.results.conclusions import TRAINED

DECIDING = tuple(metric for metric in (TRAINED.reward, TRAINED.wins) if metric)
_SECONDS = 10


@dataclass(frozen=True)
class Version:
    """An entry in the history of its recipe.

    Attributes:
        of: the entry.
        date: of the commit that made it, as ISO 8601; None where the commit is not known here.
        changed: fields in which its certificate refuses the version before; None for the first.
    """

    of: Named
    date: str | None
    changed: Sequence[str] | None


@dataclass(frozen=True)
class History:
    """All entries of one recipe and profile, at least two, oldest first."""

    recipe: str
    profile: str
    versions: Sequence[Version]

    def rows(self) -> list[str]:
        """Rows that any version has, in order, sentinels left out."""
        models = (model for version in self.versions for model in version.of.entry.models)
        return [row for row in dict.fromkeys(models) if row not in BEFORE_METHODS[2:]]

    def cells(self, row: str, metric: str) -> list[Cell | None]:
        """The row's number in each version; None where a version does not have it."""
        return [
            next((c for c in v.of.entry.rows if (c.model, c.metric) == (row, metric)), None)
            for v in self.versions
        ]


def histories(entries: Sequence[Named], dates: Mapping[str, str]) -> list[History]:
    """Recipes with several entries.

    Versions are ordered by alignbench's version, then by the date of the commit; entries of one
    version whose dates are not known keep the order of `entries`.

    Args:
        entries: as `grouping.named` gives them.
        dates: of commits, as `commit_dates` finds them.
    """
    recipes: dict[tuple[str, str], list[Named]] = {}
    for one in entries:
        recipes.setdefault((one.entry.recipe.name, one.entry.recipe.profile), []).append(one)
    return [
        History(recipe, profile, _versions(own, dates))
        for (recipe, profile), own in recipes.items()
        if len(own) > 1
    ]


def commit_dates(commits: Iterable[str | None], folder: Path) -> dict[str, str]:
    """Commit -> its date, of those that the git repository around `folder` has."""
    git = shutil.which("git")
    found = {}
    for commit in {clean for each in commits if (clean := _hash(each)) is not None} if git else ():
        command = [str(git), "-C", str(folder), "show", "-s", "--format=%cI", commit, "--"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        except (OSError, subprocess.SubprocessError):
            continue
        if done.returncode == 0 and re.fullmatch(r"[0-9T:+Z-]+", date := done.stdout.strip()):
            found[commit] = date
    return found


def date_of(one: Named, dates: Mapping[str, str]) -> str | None:
    """Of the commit that made an entry."""
    return dates.get(_hash(one.entry.environment.git_commit) or "")


def _versions(entries: Sequence[Named], dates: Mapping[str, str]) -> list[Version]:
    def age(one: Named) -> tuple[packaging.version.Version, datetime]:
        return _number(one.entry.environment.alignbench), _time(date_of(one, dates))

    found: list[Version] = []
    for one in sorted(entries, key=age):
        changed = None
        if found:
            before = found[-1].of.entry.certificate
            refusing = compare(before, one.entry.certificate).refusals
            changed = [line.field for line in refusing]
        found.append(Version(one, date_of(one, dates), changed))
    return found


def _number(version: str) -> packaging.version.Version:
    """A version in order: 1.0rc1 comes before 1.0. Of what is none, its numbers."""
    try:
        return packaging.version.Version(version)
    except ValueError:  # also of a number of thousands of digits
        return packaging.version.Version(".".join(re.findall(r"\d{1,9}", version)) or "0")


def _time(date: str | None) -> datetime:
    """The moment of a date with any offset; before all others where it is not known."""
    try:
        found = datetime.fromisoformat(date or "")
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _hash(commit: str | None) -> str | None:
    clean = (commit or "").partition("+")[0]
    return clean if re.fullmatch(r"[0-9a-f]{7,64}", clean) else None
