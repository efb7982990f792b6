"""Every built-in method keeps the contract that plug-ins must keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from alignbench.conformance.run import conformance
from alignbench.methods.registry import BUILTIN

UNTRAINED = {"best_of_n"}
WITHOUT_REFERENCE = {"orpo", "simpo"}
WITHOUT_REWARD = {"dpo", "ipo", "kto", "orpo", "simpo", "rlaif"}
MAY_NOT_APPLY = {
    "reference weights": UNTRAINED | WITHOUT_REFERENCE,
    "frozen models": WITHOUT_REFERENCE,
    "rewards agree": UNTRAINED | WITHOUT_REWARD,
    "logprobs agree": UNTRAINED,
    "dropout off": UNTRAINED,
    "budget obeyed": UNTRAINED,
    "snapshots": UNTRAINED,
    "resume": UNTRAINED,
    "all charged": UNTRAINED,
}
"""Checks that say nothing about a method; elsewhere silence would mean that they see nothing."""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_it_keeps_the_contract(name: str) -> None:
    verdicts = conformance(name)
    assert {one.check: one.seen for one in verdicts if one.status == "fail"} == {}
    silent = {one.check for one in verdicts if one.status == "n/a"}
    assert silent == {check for check, names in MAY_NOT_APPLY.items() if name in names}


OPTIONS: list[tuple[str, Mapping[str, Any]]] = [
    ("grpo", {"temperatures": [0.7, 1.3], "minibatches": 2, "epochs": 2}),
    ("grpo", {"samples_per_prompt": 4, "mix": {"policy": 2, "sft": 1, "bad": 1}}),
    ("ppo", {"online_reward": {"every": 2, "pairs": 4, "learning_rate": 1e-4}}),
    (
        "rlaif",
        {
            "prompts": 24,
            "then": "ppo",
            "dpo": None,
            "ppo": {"learning_rate": 1e-3, "prompts_per_rollout": 4},
            "reward_model": {"learning_rate": 1e-3, "epochs": 1},
        },
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_options_keep_the_contract(name: str, options: Mapping[str, Any]) -> None:
    verdicts = conformance(name, options)
    assert {one.check: one.seen for one in verdicts if one.status == "fail"} == {}
