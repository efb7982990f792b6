"""All methods with an adapter and with recomputed activations: the same harness, less memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from alignbench.models.load import load_policy, weights_digest
from tests.training.small_world import run_method

LORA: dict[str, Any] = {"lora": {"rank": 4}, "gradient_checkpointing": False}
RATE = {"learning_rate": 1e-3}
ROLLOUTS = {**RATE, "rollouts": 2, "prompts_per_rollout": 2, "samples_per_prompt": 2}
ROWS: dict[str, dict[str, Any]] = {
    "dpo": {**RATE, "batch_size": 4},
    "kto": {**RATE, "batch_size": 4},
    "orpo": {**RATE, "batch_size": 4},
    "grpo": {**ROLLOUTS, "kl_coef": 0.1},
    "reinforce": {**ROLLOUTS},
    "ppo": {**ROLLOUTS},
    "online_dpo": {**ROLLOUTS},
}


@pytest.mark.parametrize("row", ROWS)
def test_with_an_adapter(row: str, world: dict[str, Path], tmp_path: Path) -> None:
    out, _ = run_method(tmp_path / "out", world, row, ROWS[row], training=LORA)
    record = json.loads((out / "metrics.json").read_text())
    start, _ = load_policy(world["sft"] / "model")
    model, _ = load_policy(out / "model")  # a plain model
    assert record["weights_digest"] == weights_digest(model) != weights_digest(start)
    if row != "orpo":
        assert record["reference_digest"] == weights_digest(start)
    moved = [n for n, w in model.named_parameters() if not torch.equal(w, start.get_parameter(n))]
    assert moved
    assert all(name.endswith("weight") and ".h." in name for name in moved)


def test_no_second_model_is_loaded(
    world: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Any] = []
    monkeypatch.setattr(
        "alignbench.stages.method.load_policy", lambda *a: loaded.append(a) or load_policy(*a)
    )
    run_method(tmp_path / "out", world, "kto", ROWS["kto"], training=LORA)
    assert len(loaded) == 1


def test_rlaif_scores_its_pairs_with_the_policy_without_its_adapter(
    world: dict[str, Path], tmp_path: Path
) -> None:
    options = {
        "prompts": 8,
        "samples_per_prompt": 3,
        "dpo": {"learning_rate": 1e-3, "batch_size": 4, "epochs": 8},
    }
    out, _ = run_method(tmp_path / "out", world, "rlaif", options, training=LORA)
    record = json.loads((out / "metrics.json").read_text())
    assert record["consumed"]["optimizer_steps"] > 0
    assert record["reference_digest"] == record["start_digest"] != record["weights_digest"]


def test_a_method_that_trains_more_than_the_adapter_is_refused(
    world: dict[str, Path], tmp_path: Path
) -> None:
    options = {"uses": "tests.stages.test_method:Spy", "shift": 0.1}
    with pytest.raises(RuntimeError, match="changed weights outside the adapter"):
        run_method(tmp_path / "out", world, "spy", options, training=LORA)


@pytest.mark.parametrize("row", ["dpo", "grpo", "ppo"])
def test_recomputed_activations_change_the_bill_only(
    row: str, world: dict[str, Path], tmp_path: Path
) -> None:
    plain, _ = run_method(tmp_path / "plain", world, row, ROWS[row])
    settings = {"lora": None, "gradient_checkpointing": True}
    again, _ = run_method(tmp_path / "again", world, row, ROWS[row], training=settings)
    weights = [load_policy(folder / "model")[0].state_dict() for folder in (plain, again)]
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], atol=1e-5), name
    bills = [json.loads((f / "metrics.json").read_text())["consumed"] for f in (plain, again)]
    assert bills[1]["flops"] > bills[0]["flops"]
    assert bills[1]["tokens_trained"] == bills[0]["tokens_trained"]
