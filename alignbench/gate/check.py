"""A fresh run against a published one: the verdict of every comparison, and of all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignbench.errors import Exit, UserError
from alignbench.gate.pairing import methods_of, samples
from alignbench.gate.samples import LIKELY, Finding, Sample
from alignbench.gate.terms import check_terms
from alignbench.gate.tolerance import Tolerances, check_metrics
from alignbench.gate.unchecked import uncompared, untested
from alignbench.leaderboard.schema import Entry

ERROR_RATE = 0.01
"""Chance that a check in which nothing changed calls anything worse or better, all together."""
FEW, GOOD = 5, 8
"""Degrees of freedom below which bugs on the smoke recipe went unseen, and seeds to publish."""
DECIDING = ("reward_gold", "win_rate_vs_sft")
"""Unless metrics are named; then one of the two suffices where a run has no other."""


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes:
        baseline, run: what they are called.
        findings: every comparison; worse first, then inconclusive, better, same.
        deciding: metrics that must be decided.
        rows: of the baseline, in its order.
        missing: of these, what the run has not.
        untested: sentences on what should have been compared and was not.
        inconclusive: sentences on deciding metrics that were, without a decision.
        notes: sentences on what differs between the two.
        level: confidence of each interval.
    """

    baseline: str
    run: str
    findings: Sequence[Finding]
    deciding: Sequence[str]
    rows: Sequence[str]
    missing: Sequence[str]
    untested: Sequence[str]
    inconclusive: Sequence[str]
    notes: Sequence[str]
    level: float

    @property
    def undecided(self) -> list[str]:
        """Sentences on all that should have been decided and was not."""
        return [*self.untested, *self.inconclusive]

    def count(self, verdict: str) -> int:
        """Comparisons with this verdict."""
        return sum(finding.verdict == verdict for finding in self.findings)

    @property
    def worse(self) -> list[Finding]:
        """The regressions."""
        return [finding for finding in self.findings if finding.verdict == "worse"]

    @property
    def exit_code(self) -> Exit:
        """REGRESSION, else INCONCLUSIVE where something was left undecided, else OK."""
        if self.worse:
            return Exit.REGRESSION
        return Exit.INCONCLUSIVE if self.undecided else Exit.OK

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        total, identical = len(self.findings), sum(f.identical for f in self.findings)
        counts = ", ".join(
            f"{self.count(v)} {v}" for v in ("worse", "better", "same", "inconclusive")
        )
        said = {
            Exit.REGRESSION: "Regression",
            Exit.INCONCLUSIVE: "Inconclusive",
            Exit.OK: "No regression",
        }[self.exit_code]
        also = f" ({identical} numbers are identical)" if identical else ""
        return f"{said}: of {total} comparisons {counts}{also}."


def compare_entries(
    baseline: Entry,
    run: Entry,
    tolerances: Tolerances | None = None,
    deciding: Sequence[str] | None = None,
    retrained: bool = False,
    names: tuple[str, str] = ("the baseline", "the run"),
) -> Outcome:
    """Compare a run's entry with a baseline's.

    All comparisons share `ERROR_RATE` (Bonferroni): each is made at 1 - ERROR_RATE / comparisons.

    Args:
        baseline, run: both as `leaderboard.entry` reads them.
        tolerances: differences that do not matter.
        deciding: metrics that methods must have decided, else the outcome is inconclusive; None:
            `DECIDING`.
        retrained: accept weights that each made by the same settings, see `terms.MADE`.
        names: of the two, for the outcome.

    Raises:
        UserError: they were not made on the same terms, by field; or share no row; or a deciding
            metric is none.
    """
    chosen = DECIDING if deciding is None else tuple(deciding)
    check_metrics(chosen)
    notes = check_terms(baseline, run, retrained)
    compared = list(samples(baseline, run, tolerances or Tolerances()))
    if not compared:
        raise UserError("The run and the baseline have no row in common.")
    tests = max(1, sum(sample.half(LIKELY) is not None for sample in compared))
    level = 1 - ERROR_RATE / tests
    order = ("worse", "inconclusive", "better", "same")
    found = sorted(
        (sample.judged(level, LIKELY) for sample in compared), key=lambda f: order.index(f.verdict)
    )
    methods = methods_of(baseline, run)
    notes += _few_seeds(baseline, run)
    notes += [f"row {row} is new" for row in run.models if row not in baseline.models]
    notes += _without_signals(baseline, methods)
    notes += _left_out(compared)
    return Outcome(
        *names,
        found,
        chosen,
        rows=baseline.models,
        missing=[row for row in baseline.models if row not in run.models],
        untested=[
            *untested(baseline, run, compared),
            *uncompared(baseline, run, compared, chosen, each=deciding is not None),
        ],
        inconclusive=[
            f"{f.row}: {f.name} is inconclusive"
            for f in found
            if f.name in chosen and f.row in methods and f.verdict == "inconclusive"
        ],
        notes=notes,
        level=level,
    )


def _without_signals(baseline: Entry, methods: Sequence[str]) -> list[str]:
    """What no signals of the baseline guard (those that the run lacks are in `untested`)."""
    if baseline.training is None:
        return ["the baseline has no training signals: only scores were compared"]
    found = [
        m for m in methods if m not in baseline.training or not baseline.training[m].quantities
    ]
    return [f"the baseline has no training signals of {row}" for row in found]


def _left_out(compared: Sequence[Sample]) -> list[str]:
    """What prompts and comparisons do not count."""
    notes = [
        f"{s.row}: {s.name} leaves out {s.dropped} prompts that not all seeds of both know"
        for s in compared
        if s.dropped
    ]
    bare = [
        f"{s.row} {s.name}"
        for s in compared
        if s.table is not None and not s.identical and s.half(LIKELY) is None
    ]
    if bare:
        notes.append(f"without an interval in the tables, and so not tested: {', '.join(bare)}")
    return notes


def _few_seeds(baseline: Entry, run: Entry) -> list[str]:
    """A warning where only huge differences can be told from chance."""
    seeds = [len(entry.certificate.get("seeds") or ()) for entry in (baseline, run)]
    if sum(seeds) - 2 >= FEW or seeds[0] == 0:
        return []
    return [
        f"baseline and run have {seeds[0]} and {seeds[1]} seeds: only large differences can be "
        f"told from chance; publish a baseline of {GOOD} seeds"
    ]
