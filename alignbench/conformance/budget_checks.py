"""Checks of what a method spends: its budget, and whether all of it is on the bill."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from alignbench.conformance.instruments import Counting
from alignbench.conformance.trial import Bench, Outcome
from alignbench.conformance.verdict import Finding, failed, not_applicable, passed
from alignbench.errors import UserError
from alignbench.metering.currencies import LABELS, WORK, amount

METERED = 0.02
"""Largest relative difference between the meter and the exact count."""


def budget_obeyed(bench: Bench) -> Finding:
    """Every currency of work ends the method within a step; data limits are kept exactly."""
    main = bench.main
    if main.error is not None:
        return failed(main.says())
    if bench.moved and not main.bill["optimizer_steps"]:
        return failed(
            "the weights changed without an optimizer step that the meter sees; use torch.optim"
        )
    ended = main.metrics["ended"]
    if bench.moved and ended["by"] == "method" and ended["reason"] is None:
        return failed("ended before its budget without saying why (meter.finished_early)")
    tried = []
    for currency in WORK:
        spent = main.bill[currency]
        if not spent or (currency == "optimizer_steps" and spent < 2):
            continue
        # Not a whole number of steps, so that the end falls into one.
        limit = max(1.0, 0.55 * spent)
        problem = _overspent(bench.run(currency, budget={currency: limit}), bench, currency, limit)
        if problem is not None:
            return failed(problem)
        tried.append(LABELS[currency].lower())
    problem = _time_limit(bench, tried) or _data_limits(bench, tried)
    if problem is not None:
        return failed(problem)
    if not tried:
        return not_applicable("spends nothing that can be limited")
    return passed(f"kept in {', '.join(tried)}")


def _overspent(run: Outcome, bench: Bench, currency: str, limit: float) -> str | None:
    """What is wrong with a run that had `limit` of `currency`; None if nothing."""
    if run.error is not None:
        return f"with a limit on {currency}: {run.says()}"
    dearest = _dearest_step(bench.observer.bills or [bench.main.bill], currency)
    over = [bill[currency] for bill in run.probe.bills if bill[currency] >= limit]
    at_end = over[0] if over else run.bill[currency]
    if len(over) > 1:
        return f"went on for {len(over) - 1} optimizer steps after its {currency} were spent"
    # A method that lets the harness stop it has begun one more step, which is thrown away.
    excess, after = at_end - limit, run.bill[currency] - at_end
    for what, found in (("beyond the limit", excess), ("after its end", after)):
        if found > 1.01 * dearest:
            return (
                f"spent {amount(currency, found)} {LABELS[currency].lower()} {what}; a step takes "
                f"{amount(currency, dearest)} at most: look at meter.exhausted() after each step"
            )
    return None


def _time_limit(bench: Bench, tried: list[str]) -> str | None:
    """What is wrong with a run that has time for a step less than `main` made, or two and a half.

    By a clock on which a step takes a second, since real time would end a run anywhere.
    """
    if bench.steps < 2:
        return None
    seconds = min(2.5, bench.steps - 1.5)
    run, due = bench.timed(seconds), math.ceil(seconds)
    if run.error is not None:
        return f"with a limit on wall_hours: {run.says()}"
    taken = run.bill["optimizer_steps"]
    if taken > due:
        return f"{taken} optimizer steps of a second each in {seconds} s"
    if taken == due:
        after = run.bill["flops"] - run.probe.bills[-1]["flops"]
        if after > 1.01 * _dearest_step(bench.observer.bills, "flops"):
            return (
                f"spent {after:.4g} FLOPs after its time was up: look at meter.exhausted() after "
                "each step"
            )
    tried.append(f"time ({taken} steps of 1 s in {seconds} s)")
    return None


def _dearest_step(bills: Sequence[Mapping[str, int]], currency: str) -> int:
    """The most that one step cost, what precedes the first one counted to it."""
    amounts = [0, *(bill[currency] for bill in bills)]
    return max(after - before for before, after in pairwise(amounts))


def _data_limits(bench: Bench, tried: list[str]) -> str | None:
    for currency in ("prompts", "human_labels", "ai_labels"):
        spent = bench.main.bill[currency]
        if spent < 2:
            continue
        limit = spent // 2
        run = bench.run(currency, budget={currency: limit, "optimizer_steps": max(2, bench.steps)})
        if run.error is not None and not isinstance(run.error, UserError):
            return f"with a limit on {currency}: {run.says()}"
        if run.error is None and run.bill[currency] > limit:
            return f"used {run.bill[currency]} {currency} where {limit} were allowed"
        tried.append(LABELS[currency].lower())
    return None


def all_charged(bench: Bench) -> Finding:
    """The meter's FLOPs are those dispatched, and its tokens those that were processed."""
    counted, seen = bench.counted, bench.observer
    if counted.error is not None:
        return not_applicable(f"the run that counts failed: {counted.says()}")
    assert isinstance(counted.probe, Counting)
    exact, metered = counted.probe.counter.flops, counted.bill["flops"]
    if not exact and not seen.tokens:
        return not_applicable("no work in torch")
    if abs(metered - exact) > METERED * exact:
        return failed(
            f"the meter counted {metered:.4g} FLOPs, {exact:.4g} were dispatched "
            f"({metered / max(exact, 1) - 1:+.1%}): call modules, not their weights"
        )
    bill = bench.main.bill
    for name, found, true in (
        ("generated", bill["tokens_generated"], seen.continued),
        ("scored and trained", bill["tokens_scored"] + bill["tokens_trained"], seen.tokens),
    ):
        if abs(found - true) > METERED * true:
            return failed(f"the meter counted {found} tokens {name}, there were {true}")
    share = f"{metered / exact - 1:+.2%}" if exact else "none"
    return passed(f"FLOPs {share} of the exact count; {seen.tokens} tokens processed, all counted")
