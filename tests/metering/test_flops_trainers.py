"""What real trainers did, as the meter counts it and as torch dispatched it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignbench.metering.dispatch import MatmulCounter
from alignbench.methods.registry import resolve
from tests import tiny

ROLLOUTS = {"learning_rate": 1e-3, "rollouts": 2, "prompts_per_rollout": 4, "samples_per_prompt": 4}
METHODS: dict[str, dict[str, Any]] = {
    "dpo": {"learning_rate": 1e-3, "batch_size": 8, "epochs": 1},
    "grpo": {**ROLLOUTS, "kl_coef": 0.05},  # with TRL's own reference
    "ppo": {**ROLLOUTS, "kl_coef": 0.05},  # with ours, and a critic
}


@pytest.mark.parametrize(
    ("name", "precision"), [("dpo", "fp32"), ("grpo", "fp32"), ("grpo", "bf16"), ("ppo", "fp32")]
)
def test_a_training_run(tmp_path: Path, name: str, precision: str) -> None:
    with MatmulCounter() as counter:
        _, _, meter = tiny.train(
            tmp_path, resolve(name, METHODS[name]), precision=precision, pairs=tiny.pairs(n=32)
        )
    assert meter.bill()["flops"] == counter.flops > 0
