"""The list of checks: each looks at one clause of the contract and says what it saw.

A check that cannot say anything about a method ("it does not sample") says so and is no failure.
Each looks at its own clause only, so that a mistake is reported once, under its name;
`tests/conformance/broken.py` holds a method for each that breaks just that clause.
"""

from __future__ import annotations

from collections.abc import Callable

from alignbench.conformance.budget_checks import all_charged, budget_obeyed
from alignbench.conformance.model_checks import (
    dropout_off,
    frozen_models,
    logprobs_agree,
    reference_weights,
    rewards_agree,
    start_weights,
)
from alignbench.conformance.probe import Runaway
from alignbench.conformance.run_checks import (
    clean_failure,
    inputs_untouched,
    resume,
    same_seed_same_weights,
    snapshots,
    sound_result,
)
from alignbench.conformance.trial import Bench
from alignbench.conformance.verdict import Finding, Verdict

Check = Callable[[Bench], Finding]
CHECKS: tuple[Check, ...] = (
    start_weights,
    reference_weights,
    dropout_off,
    logprobs_agree,
    rewards_agree,
    budget_obeyed,
    same_seed_same_weights,
    snapshots,
    resume,
    all_charged,
    inputs_untouched,
    frozen_models,
    sound_result,
    clean_failure,
)


def name_of(check: Check) -> str:
    """``start weights`` for `start_weights`."""
    return check.__name__.replace("_", " ")


def judge(bench: Bench, check: Check) -> Verdict:
    """The verdict of `check`; where the plain run fails, only the check that it concerns judges."""
    error = bench.main.error
    if error is not None:
        concerned = budget_obeyed if isinstance(error, Runaway) else sound_result
        if check is not concerned:
            return Verdict(name_of(check), "n/a", f"the plain run failed: see {name_of(concerned)}")
    return Verdict(name_of(check), *check(bench))
