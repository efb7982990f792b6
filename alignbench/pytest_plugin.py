"""The gate inside pytest: items for a run, and the fixture `alignbench_check`.

    pytest --alignbench-run runs/smoke --alignbench-baseline leaderboards

adds an item for every row of the baseline (it fails where the row is worse or missing) and one for
what had to be decided (it fails where something was not compared, and is skipped where a deciding
metric is inconclusive). pytest loads this module in every project
that has alignbench installed: nothing is imported before an option or the fixture asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from alignbench.gate import Outcome

Check = Callable[..., "Outcome"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the gate."""
    group = parser.getgroup("alignbench", "check a run of alignbench against a published one")
    group.addoption("--alignbench-run", metavar="RUN", help="run folder, or its name below runs/")
    group.addoption("--alignbench-baseline", metavar="FILE", help="entry, or a folder with it")
    group.addoption(
        "--alignbench-retrained",
        action="store_true",
        help="accept weights made anew by the same settings",
    )
    group.addoption(
        "--alignbench-deciding", metavar="A,B", help="metrics that must be decided, or none"
    )
    group.addoption(
        "--alignbench-tolerance",
        action="append",
        default=[],
        metavar="METRIC=AMOUNT",
        help="difference that does not matter; repeatable",
    )


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the items, where the options ask for them."""
    run = config.getoption("--alignbench-run")
    baseline = config.getoption("--alignbench-baseline")
    if run is None and baseline is None:
        return
    if run is None or baseline is None:
        raise pytest.UsageError("--alignbench-run and --alignbench-baseline belong together")
    from alignbench.errors import UserError
    from alignbench.gate.tolerance import metric_names

    try:
        outcome = check(
            run,
            baseline,
            config.getoption("--alignbench-tolerance"),
            metric_names(config.getoption("--alignbench-deciding")),
            config.getoption("--alignbench-retrained"),
        )
    except UserError as error:
        raise pytest.UsageError(str(error)) from error
    items += [
        Row.from_parent(session, name=f"alignbench[{row}]", row=row, outcome=outcome)
        for row in outcome.rows
    ]
    items.append(Decided.from_parent(session, name="alignbench[decided]", outcome=outcome))


@pytest.fixture(scope="session")
def alignbench_check() -> Check:
    """``alignbench_check(run, baseline, tolerances=(), deciding=None, retrained=False)``.

    Returns the `alignbench.gate.Outcome`: `exit_code`, `worse`, `findings`, `sentence`. Raises
    `alignbench.errors.UserError` where the two cannot be compared.
    """
    return check


def check(
    run: str | Path,
    baseline: str | Path,
    tolerances: Sequence[str] = (),
    deciding: Sequence[str] | None = None,
    retrained: bool = False,
) -> Outcome:
    """Check a run folder against an entry; see `gate.compare_entries`.

    Args:
        tolerances: such as ``reward_gold=0.5``.
        deciding: metrics that must be decided; None: the defaults.

    Raises:
        UserError: no such run or entry, or they cannot be compared.
    """
    from alignbench.gate import Tolerances, compare_entries
    from alignbench.gate.source import find_baseline, load_run
    from alignbench.leaderboard.entry import load

    fresh = load_run(str(run))
    path = find_baseline(Path(baseline), fresh.entry)
    return compare_entries(
        load(path),
        fresh.entry,
        Tolerances.parse(tolerances),
        deciding,
        retrained,
        (path.name, fresh.folder.name),
    )


class _Failed(Exception):
    """Told to the user without a traceback."""


class _Item(pytest.Item):
    """An item about an outcome."""

    def __init__(self, *, outcome: Outcome, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outcome = outcome

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The message alone, for what the gate says."""
        if isinstance(excinfo.value, _Failed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Named by the item alone: there is no file."""
        return self.path, None, self.name


class Row(_Item):
    """Fails where a row is worse than the baseline's, or is not there."""

    def __init__(self, *, row: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.row = row

    def runtest(self) -> None:
        """Fail with every comparison of the row that is worse."""
        from alignbench.gate import render

        if self.row in self.outcome.missing:
            raise _Failed(f"row {self.row} of the baseline is not in the run")
        worse = [finding for finding in self.outcome.worse if finding.row == self.row]
        if worse:
            told = [
                ", ".join(f"{h} {v}" for h, v in zip(render.HEADERS, render.row(f), strict=True))
                for f in worse
            ]
            raise _Failed("\n".join(told))


class Decided(_Item):
    """Fails where something went uncompared; skipped where a deciding metric is inconclusive."""

    def runtest(self) -> None:
        """Fail or skip with the reasons."""
        if self.outcome.untested:
            raise _Failed("\n".join(self.outcome.undecided))
        if self.outcome.inconclusive:
            pytest.skip("; ".join(self.outcome.inconclusive))
