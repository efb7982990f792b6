"""Which optimizer steps count, and when they are refused."""

from __future__ import annotations

import pytest
import torch

from alignbench.metering.budget import Budget
from alignbench.metering.meter import BudgetExhausted, Meter
from alignbench.metering.watch import watch


def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.ones(3, 4)).sum().backward()
    optimizer.step()


def test_steps_of_the_policy_count_and_a_critics_do_not() -> None:
    policy, critic = torch.nn.Linear(4, 2), torch.nn.Linear(4, 1)
    own = torch.optim.AdamW(policy.parameters(), lr=0.1)
    other = torch.optim.SGD(critic.parameters(), lr=0.1)
    meter = Meter()
    with watch(meter, policy):
        step(policy, own)
        step(critic, other)
        step(policy, own)
    assert meter.bill()["optimizer_steps"] == 2
    step(policy, own)  # nobody watches
    assert meter.bill()["optimizer_steps"] == 2


def test_parameters_that_come_later_count_too() -> None:
    policy = torch.nn.Sequential(torch.nn.Linear(4, 2))
    meter = Meter()
    with watch(meter, policy):
        policy.append(torch.nn.Linear(2, 2))
        step(policy, torch.optim.SGD(policy[1].parameters(), lr=0.1))
    assert meter.bill()["optimizer_steps"] == 1


def test_the_harness_works_between_steps_on_nobodys_bill() -> None:
    policy = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.1)
    meter, seen = Meter(), []

    def look() -> None:
        policy(torch.ones(3, 4))
        seen.append(meter.bill()["flops"])

    with watch(meter, policy, look):
        step(policy, optimizer)
        step(policy, optimizer)
    assert len(seen) == 2
    assert meter.bill()["flops"] == 2 * seen[0]


def test_the_step_beyond_the_budget_changes_no_weight() -> None:
    policy = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.1)
    meter = Meter(Budget(optimizer_steps=1))
    with watch(meter, policy):
        step(policy, optimizer)
        before = policy.weight.detach().clone()
        for _ in range(2):  # swallowing the exception does not help
            with pytest.raises(BudgetExhausted):
                step(policy, optimizer)
    assert torch.equal(before, policy.weight)
    assert meter.bill()["optimizer_steps"] == 1
