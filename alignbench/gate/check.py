"""A fresh run against a published one: the verdict of every comparison, and of all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignbench.errors import Exit, UserError
from alignbench.gate.pairing import samples
from alignbench.gate.samples import Finding, Sample
from alignbench.gate.terms import check_terms
from alignbench.gate.tolerance import Tolerances
from alignbench.leaderboard.schema import Entry

ERROR_RATE = 0.01
"""Chance that a check in which nothing changed calls anything worse or better, all together."""
LIKELY = 0.95
"""Confidence of the interval that must lie within the tolerance for "same"."""
FEW, GOOD = 5, 8
"""Degrees of freedom below which bugs on the smoke recipe went unseen, and seeds to publish."""
DECIDING = ("reward_gold", "win_rate_vs_sft")


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes:
        baseline, run: what they are called.
        findings: every comparison; worse first, then inconclusive, better, same.
        deciding: metrics that must be decided.
        undecided: sentences on what should have been decided and was not.
        notes: sentences on what differs between the two.
        level: confidence of each interval.
    """

    baseline: str
    run: str
    findings: Sequence[Finding]
    deciding: Sequence[str]
    undecided: Sequence[str]
    notes: Sequence[str]
    level: float

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
    deciding: Sequence[str] = DECIDING,
    retrained: bool = False,
    names: tuple[str, str] = ("the baseline", "the run"),
) -> Outcome:
    """Compare a run's entry with a baseline's.

    All comparisons share `ERROR_RATE` (Bonferroni): each is made at 1 - ERROR_RATE / comparisons.

    Args:
        baseline, run: both as `leaderboard.entry` reads them.
        tolerances: differences that do not matter.
        deciding: metrics that methods must have decided, else the outcome is inconclusive.
        retrained: accept weights that each made by the same settings, see `terms.MADE`.
        names: of the two, for the outcome.

    Raises:
        UserError: they were not made on the same terms, by field; or share no row.
    """
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
    missing = [row for row in baseline.models if row not in run.models]
    undecided = [f"row {row} of the baseline is not in the run" for row in missing]
    methods = baseline.certificate.get("rows", {})
    undecided += [
        f"{f.row}: {f.name} is inconclusive"
        for f in found
        if f.name in deciding and f.row in methods and f.verdict == "inconclusive"
    ]
    if not any(_has_noise(sample) for sample in compared):
        undecided.append("nothing could be tested: no method has seeds enough in both")
    notes += _few_seeds(baseline, run)
    notes += [f"row {row} is new" for row in run.models if row not in baseline.models]
    if baseline.training is None or run.training is None:
        who = "baseline" if baseline.training is None else "run"
        notes.append(f"the {who} has no training signals: only scores were compared")
    return Outcome(*names, found, tuple(deciding), undecided, notes, level)


def _few_seeds(baseline: Entry, run: Entry) -> list[str]:
    """A warning where only huge differences can be told from chance."""
    seeds = [len(entry.certificate.get("seeds") or ()) for entry in (baseline, run)]
    if sum(seeds) - 2 >= FEW or seeds[0] == 0:
        return []
    return [
        f"baseline and run have {seeds[0]} and {seeds[1]} seeds: only large differences can be "
        f"told from chance; publish a baseline of {GOOD} seeds"
    ]


def _has_noise(sample: Sample) -> bool:
    """Whether a comparison of a method could be made, or was not needed."""
    if sample.fixed:
        return False
    return sample.half(LIKELY) is not None or sample.judged(LIKELY, LIKELY).identical
