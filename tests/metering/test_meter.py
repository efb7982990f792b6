"""Counters, budgets and what happens when one runs out."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from alignbench.metering.budget import Budget
from alignbench.metering.currencies import COUNTED, amount
from alignbench.metering.data import Metered, MeteredLabeller
from alignbench.metering.engine import activated, engine_tokens, report
from alignbench.metering.meter import BudgetExhausted, Meter


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_charges_add_up_and_every_counter_starts_at_nothing() -> None:
    meter = Meter()
    assert meter.bill() == dict.fromkeys(COUNTED, 0)
    meter.charge(ai_labels=3, tokens_generated=10)
    meter.charge(ai_labels=2)
    assert meter.bill()["ai_labels"] == 5
    assert meter.bill()["tokens_generated"] == 10


def test_unknown_and_negative_charges_are_refused() -> None:
    with pytest.raises(ValueError, match="no counter labels"):
        Meter().charge(labels=1)
    with pytest.raises(ValueError, match="negative"):
        Meter().charge(prompts=-1)


def test_fraction_is_that_of_the_limit_nearest_to_its_end() -> None:
    meter = Meter(Budget(flops=1000.0, tokens_trained=50))
    meter.charge(flops=100, tokens_trained=20)
    assert meter.fraction() == pytest.approx(0.4)
    assert meter.exhausted() is None
    meter.charge(flops=1100)
    assert meter.exhausted() == "flops"
    assert meter.overshoot() == {"flops": 200}
    assert meter.remaining("flops") == 0
    assert meter.remaining("tokens_trained") == 30
    assert meter.remaining("prompts") == math.inf


def test_data_limits_do_not_end_a_method() -> None:
    meter = Meter(Budget(ai_labels=5, optimizer_steps=10))
    meter.charge(ai_labels=5)
    assert meter.fraction() == 0
    assert meter.exhausted() is None


def test_hours_are_limits_in_seconds_and_pauses_do_not_count() -> None:
    clock = Clock()
    meter = Meter(Budget(device_hours=1.0), clock=clock, devices=2)
    clock.now += 900
    assert meter.fraction() == pytest.approx(0.5)
    with meter.paused():
        clock.now += 5000
        meter.charge(flops=7)
        assert meter.seconds() == 900
    clock.now += 900
    assert meter.exhausted() == "device_seconds"
    assert meter.bill()["flops"] == 0
    assert meter.measured()["wall_seconds"] == 1800
    assert meter.measured()["device_seconds"] == 3600


def test_the_step_after_the_end_is_refused_and_not_the_one_that_reaches_it() -> None:
    meter = Meter(Budget(optimizer_steps=2))
    for _ in range(2):
        meter.check_end()
        meter.boundary()
    with pytest.raises(BudgetExhausted, match="optimizer_steps") as caught:
        meter.check_end()
    assert caught.value.currency == "optimizer_steps"


def test_spending_without_steps_is_stopped_after_a_grace() -> None:
    meter = Meter(Budget(flops=100.0))
    meter.charge(flops=199)  # what the first step costs is not known yet
    meter.check_backstop()
    meter.charge(flops=2)
    with pytest.raises(BudgetExhausted, match="without an optimizer step"):
        meter.check_backstop()


def test_the_grace_allows_for_the_step_in_which_the_budget_ends() -> None:
    meter = Meter(Budget(flops=100.0))
    meter.charge(flops=60)
    meter.boundary()
    meter.charge(flops=100)  # a second step of the same kind, not yet at its end
    meter.check_backstop()
    meter.charge(flops=100)
    with pytest.raises(BudgetExhausted):
        meter.check_backstop()


@pytest.mark.parametrize(
    "bad", [{}, {"flops": 0}, {"flops": -1.0}, {"flops": math.inf}, {"flop": 1.0}, {"flops": "1"}]
)
def test_budgets_that_are_none(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Budget.model_validate(bad)


def test_own_limits_lie_over_the_shared_ones() -> None:
    both = Budget.combined(Budget(flops=5.0, ai_labels=3), Budget(flops=7.0))
    assert both is not None
    assert both.limits() == {"flops": 7.0, "ai_labels": 3}
    assert Budget.combined(None, None) is None
    assert not Budget(prompts=3).ends()


def test_data_is_charged_when_first_read_and_limited() -> None:
    meter = Meter(Budget(prompts=3, optimizer_steps=1))
    items = Metered(["a", "b", "c", "d"], meter, "prompts")
    assert len(items) == 3
    assert meter.bill()["prompts"] == 0
    assert items[0] == items[0] == "a"
    assert items[-1] == "c"
    assert meter.bill()["prompts"] == 2
    assert list(items) == items[:] == ["a", "b", "c"]
    assert meter.bill()["prompts"] == 3
    with pytest.raises(IndexError):
        items[3]


class Lengths:
    name = "lengths"

    def utilities(self, prompt: str, responses: list[str]) -> list[float]:
        return [float(len(response)) for response in responses]


def test_labels_are_charged_and_refused_beyond_the_budget() -> None:
    meter = Meter(Budget(ai_labels=3, optimizer_steps=1))
    labeller = MeteredLabeller(Lengths(), meter)
    assert labeller.name == "lengths"
    assert labeller.utilities("p", ["a", "bb"]) == [1.0, 2.0]
    with pytest.raises(BudgetExhausted):
        labeller.utilities("p", ["a", "bb"])
    assert meter.bill()["ai_labels"] == 2


def test_reports_reach_the_active_meter_only() -> None:
    report(tokens_generated=5)  # nobody listens
    meter = Meter()
    with activated(meter):
        with engine_tokens():
            assert meter.in_engine
        report(tokens_generated=4)
    assert not meter.in_engine
    report(tokens_generated=9)
    assert meter.bill()["tokens_generated"] == 4


def test_amounts_are_written_for_people() -> None:
    assert amount("flops", 2.346e14) == "2.35e+14"
    assert amount("prompts", 1234) == "1,234"
    assert amount("wall_seconds", 12.34) == "12.3"
    assert amount("prompts", None) == "–"
